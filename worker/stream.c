/*
 * stream.c - see stream.h.
 *
 * What an idle stream costs decides how many a worker can hold: it keeps nothing of
 * its request, frames are shared between streams by counting references, and one
 * timer serves them all.
 */
#include "worker/stream.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/events.h"
#include "worker/exchange.h"
#include "worker/replay.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define BUCKETS      4096 /* a power of two */
#define SWEEP_MS     1000
#define HEARTBEAT_MS 15000
#define LONGEST_S    1800
#define MOST_PENDING ((size_t)256 * 1024)
/* Heartbeats of one sweep. Streams that came all at once are spread out by this. */
#define LEAST_BEATS 1000
/* libmicrohttpd reads through a buffer of this size only for HTTP/1.0 clients. */
#define READ_BLOCK 256
/* Events a stream is given again after Redis was away. */
#define CATCH_UP_LIMIT 1000
#define EVENT_ID_SIZE  65 /* varchar(64) */

struct frame {
    uint32_t refs, length;
    char data[];
};

struct pending {
    struct pending *next;
    struct frame *frame;
};

struct queue {
    struct pending *first, **end;
};

struct stream {
    struct stream *next, *prev;               /* all streams of the hub */
    struct stream *bucket_next, **bucket_ref; /* those whose user hashes alike */
    struct hub *hub;
    struct stream **request_ref; /* the request's hold on it, until it is started */
    struct MHD_Connection *mhd;
    struct MHD_Response *response; /* while its headers are kept; NULL: dropped */
    struct queue queue;            /* to be sent */
    struct queue held;             /* live frames, until the handler has replayed */
    size_t pending;                /* bytes in both */
    size_t offset;                 /* sent of the first frame */
    struct frame *event;           /* the last one with an id, for catching up; or NULL */
    uint64_t number;               /* never used twice in a process */
    uint64_t sent_ms;              /* when something was last put into the queue */
    int64_t opened_unix, ends_unix;
    int32_t user_id;
    int fd;
    bool is_started; /* libmicrohttpd owns it */
    bool is_suspended, is_ending, is_abandoned;
};

struct hub {
    struct server *server;
    struct redis_subscription *subscription;
    struct stream *buckets[BUCKETS];
    struct stream *first;
    size_t count;
    uint64_t next_number;
    uv_timer_t sweep;
    size_t catching_up; /* rounds under way */
    bool is_closed;
};

/* ---- frames and queues ---- */

static struct frame *frame_new(const char *data, size_t length)
{
    struct frame *frame = malloc(sizeof(*frame) + length);

    if (!frame)
        fatal("out of memory");
    frame->refs = 1;
    frame->length = (uint32_t)length;
    memcpy(frame->data, data, length);
    return frame;
}

static void frame_release(struct frame *frame)
{
    if (frame && --frame->refs == 0)
        free(frame);
}

static void queue_add(struct queue *queue, struct frame *frame)
{
    struct pending *pending = malloc(sizeof(*pending));

    if (!pending)
        fatal("out of memory");
    pending->next = NULL;
    pending->frame = frame;
    frame->refs++;
    *queue->end = pending;
    queue->end = &pending->next;
}

static void queue_drop_first(struct queue *queue)
{
    struct pending *pending = queue->first;

    queue->first = pending->next;
    if (!queue->first)
        queue->end = &queue->first;
    frame_release(pending->frame);
    free(pending);
}

static void queue_clear(struct queue *queue)
{
    while (queue->first)
        queue_drop_first(queue);
}

static void queue_append(struct queue *queue, struct queue *tail)
{
    if (!tail->first)
        return;
    *queue->end = tail->first;
    queue->end = tail->end;
    tail->first = NULL;
    tail->end = &tail->first;
}

/* ---- one stream ---- */

static void wake(struct stream *stream)
{
    if (!stream->is_suspended)
        return;
    stream->is_suspended = false;
    http_resume(stream->hub->server->http, stream->mhd);
}

static void on_sweep(uv_timer_t *timer);

/* The sweep goes on as long as there is something to sweep. */
static void count_streams(struct hub *hub)
{
    if (hub->count == 0)
        uv_timer_stop(&hub->sweep);
    else if (!uv_is_active((uv_handle_t *)&hub->sweep))
        uv_timer_start(&hub->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    atomic_store_explicit(&hub->server->slot->count.streams, (uint32_t)hub->count,
                          memory_order_relaxed);
}

static void stream_free(void *arg)
{
    struct stream *stream = arg;
    struct hub *hub = stream->hub;

    if (stream->prev)
        stream->prev->next = stream->next;
    else
        hub->first = stream->next;
    if (stream->next)
        stream->next->prev = stream->prev;
    *stream->bucket_ref = stream->bucket_next;
    if (stream->bucket_next)
        stream->bucket_next->bucket_ref = stream->bucket_ref;
    hub->count--;
    count_streams(hub);

    queue_clear(&stream->queue);
    queue_clear(&stream->held);
    frame_release(stream->event);
    free(stream);
}

/* The request ends: was the stream handed to libmicrohttpd? */
static void free_unless_started(void *arg)
{
    struct stream *stream = *(struct stream **)arg;

    if (stream)
        stream_free(stream);
}

static struct stream **bucket_of(struct hub *hub, int32_t user_id)
{
    return &hub->buckets[(uint32_t)user_id & (BUCKETS - 1)];
}

static void add_to_hub(struct hub *hub, struct stream *stream)
{
    struct stream **bucket = bucket_of(hub, stream->user_id);

    stream->next = hub->first;
    if (hub->first)
        hub->first->prev = stream;
    hub->first = stream;
    stream->bucket_next = *bucket;
    stream->bucket_ref = bucket;
    if (*bucket)
        (*bucket)->bucket_ref = &stream->bucket_next;
    *bucket = stream;
    hub->count++;
    count_streams(hub);
}

static int64_t end_of(const struct request *req, int64_t now)
{
    int64_t end = now + LONGEST_S;

    if (req->token.expires_at > 0 && req->token.expires_at < end)
        end = req->token.expires_at;
    return end;
}

struct stream *stream_new(struct request *req)
{
    struct hub *hub = req->server->hub;
    struct stream **request_ref = arena_alloc(req->arena, sizeof(struct stream *));

    /* First, and still empty: what the arena may refuse comes before the stream. */
    arena_defer(req->arena, free_unless_started, request_ref);
    struct stream *stream = calloc(1, sizeof(*stream));
    if (!stream)
        fatal("out of memory");
    stream->hub = hub;
    stream->request_ref = request_ref;
    stream->mhd = req->connection;
    stream->fd =
        MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CONNECTION_FD)
            ->connect_fd;
    stream->user_id = req->user_id;
    stream->number = ++hub->next_number;
    stream->queue.end = &stream->queue.first;
    stream->held.end = &stream->held.first;
    stream->opened_unix = clock_unix();
    stream->ends_unix = end_of(req, stream->opened_unix);
    stream->sent_ms = clock_ms();
    stream->is_ending = hub->is_closed;
    add_to_hub(hub, stream);
    *request_ref = stream;
    return stream;
}

static void end_slow_stream(struct stream *stream)
{
    log_info("an event stream of user %d ends: its client takes nothing",
             (int)stream->user_id);
    queue_clear(&stream->held);
    /* The frame under way stays: a part of it may have been sent. */
    while (stream->queue.first && stream->queue.first->next) {
        struct pending *second = stream->queue.first->next;

        stream->queue.first->next = second->next;
        frame_release(second->frame);
        free(second);
    }
    if (stream->queue.first)
        stream->queue.end = &stream->queue.first->next;
    stream_end(stream);
}

static void add_frame(struct stream *stream, struct queue *queue, struct frame *frame)
{
    if (stream->is_ending)
        return;
    queue_add(queue, frame);
    stream->pending += frame->length;
    stream->sent_ms = uv_now(task_loop());
    if (stream->pending > MOST_PENDING)
        end_slow_stream(stream);
    wake(stream);
}

static bool has_id(const struct frame *frame)
{
    return frame->length > 4 && memcmp(frame->data, "id: ", 4) == 0;
}

static void note_event(struct stream *stream, struct frame *frame)
{
    if (!has_id(frame))
        return;
    frame_release(stream->event);
    frame->refs++;
    stream->event = frame;
}

void stream_send(struct stream *stream, const char *data, size_t length)
{
    struct frame *frame = frame_new(data, length);

    note_event(stream, frame);
    add_frame(stream, &stream->queue, frame);
    frame_release(frame);
}

void stream_end(struct stream *stream)
{
    stream->is_ending = true;
    wake(stream);
}

/* A copy: MHD_del_response_header() still reads its arguments when it has freed the
 * header, so they must not be the header's own texts. */
struct header_copy {
    char name[64], value[512];
};

static enum MHD_Result copy_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct header_copy *copy = arg;
    size_t name_size = strlen(name) + 1, value_size = strlen(value) + 1;

    (void)kind;
    if (strcasecmp(name, "Connection") == 0 || name_size > sizeof(copy->name) ||
        value_size > sizeof(copy->value))
        return MHD_YES;
    memcpy(copy->name, name, name_size);
    memcpy(copy->value, value, value_size);
    return MHD_NO;
}

/* They have been sent; kept, they would be an eighth of what an idle stream costs. */
static void drop_headers(struct stream *stream)
{
    struct header_copy copy;

    if (!stream->response)
        return;
    do {
        copy.name[0] = '\0';
        MHD_get_response_headers(stream->response, copy_header, &copy);
    } while (copy.name[0] &&
             MHD_del_response_header(stream->response, copy.name, copy.value) == MHD_YES);
    stream->response = NULL;
}

/*
 * libmicrohttpd asks for more. Nothing there: the connection is suspended, and 0
 * says "later"; wake() resumes it.
 */
static ssize_t stream_read(void *arg, uint64_t position, char *data, size_t room)
{
    struct stream *stream = arg;
    size_t used = 0;

    (void)position;
    if (stream->is_abandoned)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    while (stream->queue.first && used < room) {
        const struct frame *frame = stream->queue.first->frame;
        size_t part = frame->length - stream->offset;

        if (part > room - used)
            part = room - used;
        memcpy(data + used, frame->data + stream->offset, part);
        used += part;
        stream->offset += part;
        if (stream->offset == frame->length) {
            stream->pending -= frame->length;
            stream->offset = 0;
            queue_drop_first(&stream->queue);
        }
    }
    if (used > 0)
        return (ssize_t)used;
    if (stream->is_ending)
        return MHD_CONTENT_READER_END_OF_STREAM;
    drop_headers(stream);
    stream->is_suspended = true;
    MHD_suspend_connection(stream->mhd);
    return 0;
}

struct MHD_Response *stream_response(struct stream *stream)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, READ_BLOCK, stream_read, stream, stream_free);

    if (!response)
        return NULL;
    stream->is_started = true;
    stream->response = response;
    *stream->request_ref = NULL;
    stream->request_ref = NULL;
    queue_append(&stream->queue, &stream->held);
    return response;
}

/* ---- the hub ---- */

static void send_frame(struct hub *hub, int32_t user_id, struct frame *frame)
{
    for (struct stream *stream = *bucket_of(hub, user_id); stream;
         stream = stream->bucket_next) {
        if (stream->user_id != user_id)
            continue;
        note_event(stream, frame);
        add_frame(stream, stream->is_started ? &stream->queue : &stream->held, frame);
    }
}

void hub_send(struct hub *hub, int32_t user_id, const char *data, size_t length)
{
    struct frame *frame = frame_new(data, length);

    send_frame(hub, user_id, frame);
    frame_release(frame);
}

size_t hub_count(const struct hub *hub)
{
    return hub->count;
}

void hub_close_all(struct hub *hub)
{
    hub->is_closed = true;
    for (struct stream *stream = hub->first; stream; stream = stream->next)
        stream_end(stream);
}

/* "<user_id> <frame>" */
static void on_message(void *arg, const char *channel, const char *data, size_t length)
{
    struct hub *hub = arg;
    int64_t user_id = 0;
    size_t i = 0;

    (void)channel;
    while (i < length && i < 10 && data[i] >= '0' && data[i] <= '9')
        user_id = user_id * 10 + (data[i++] - '0');
    if (i == 0 || i + 1 >= length || data[i] != ' ' || user_id > INT32_MAX) {
        log_warn("a message on %s is no event: %.*s", EVENTS_CHANNEL,
                 (int)(length < 40 ? length : 40), data);
        return;
    }
    hub_send(hub, (int32_t)user_id, data + i + 1, length - i - 1);
}

/* ---- catching up after Redis was away ---- */

/* A stream and the last event it surely heard, at the moment the gap ended. */
struct missed {
    uint64_t number;
    int64_t since_unix;
    int32_t user_id;
    char event_id[EVENT_ID_SIZE]; /* "": none yet, `since_unix` counts */
};

struct catch_up {
    struct hub *hub;
    size_t count, next;
    struct missed missed[];
};

static void copy_event_id(const struct frame *frame, char ret[EVENT_ID_SIZE])
{
    size_t length = 0;

    while (frame && length < EVENT_ID_SIZE - 1 && 4 + length < frame->length &&
           frame->data[4 + length] != '\n') {
        ret[length] = frame->data[4 + length];
        length++;
    }
    ret[length] = '\0';
}

static struct stream *find_stream(struct hub *hub, const struct missed *missed)
{
    struct stream *stream = *bucket_of(hub, missed->user_id);

    while (stream && stream->number != missed->number)
        stream = stream->bucket_next;
    return stream;
}

static void catch_up_one(void *arg)
{
    const struct catch_up *work = arg;
    const struct missed *missed = &work->missed[work->next];
    struct replay replay;

    if (!find_stream(work->hub, missed))
        return;
    int rc = replay_read(work->hub->server->pg, missed->user_id, missed->event_id,
                         missed->since_unix, CATCH_UP_LIMIT, &replay);

    /* The client may have left meanwhile. */
    struct stream *stream = find_stream(work->hub, missed);
    if (!stream)
        return;
    if (rc < 0) {
        stream_end(stream); /* it comes back, and asks for what it missed */
        return;
    }
    for (int i = 0; i < replay.rows.count; i++) {
        struct buf frame = BUF_IN(task_arena());

        replay_frame(&replay, i, &frame);
        stream_send(stream, frame.data, frame.length);
    }
}

static void catch_up_next(struct catch_up *work);

static void catch_up_done(void *arg, enum task_outcome outcome)
{
    struct catch_up *work = arg;

    (void)outcome;
    work->next++;
    catch_up_next(work);
}

/* One stream after the other, each in a task of its own: the database has other
 * things to do too, and each leaves its memory behind. */
static void catch_up_next(struct catch_up *work)
{
    if (work->next == work->count || work->hub->is_closed) {
        work->hub->catching_up--;
        free(work);
        return;
    }
    task_spawn(&(struct task_spec){
        .name = "catch up",
        .run = catch_up_one,
        .arg = work,
        .timeout_ms = work->hub->server->options->server.request_timeout,
        .on_end = catch_up_done,
    });
}

/* Messages may have been lost: every stream gets what PostgreSQL has since its last. */
static void on_gap(void *arg)
{
    struct hub *hub = arg;
    size_t i = 0;

    if (hub->count == 0 || hub->is_closed)
        return;
    struct catch_up *work =
        calloc(1, sizeof(*work) + hub->count * sizeof(work->missed[0]));
    if (!work)
        fatal("out of memory");
    work->hub = hub;
    for (struct stream *stream = hub->first; stream; stream = stream->next) {
        struct missed *missed = &work->missed[i++];

        missed->number = stream->number;
        missed->user_id = stream->user_id;
        missed->since_unix = stream->opened_unix;
        copy_event_id(stream->event, missed->event_id);
    }
    work->count = i;
    hub->catching_up++;
    log_info("Redis is back: %zu event streams catch up", work->count);
    catch_up_next(work);
}

/* ---- the sweep ---- */

/*
 * Whether the client has closed its side. A write would succeed all the same, and only
 * the one after it would fail: a heartbeat later.
 */
static bool has_left(const struct stream *stream)
{
    char byte;
    ssize_t got = recv(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

static void beat(struct stream *stream, struct frame *heartbeat)
{
    if (!has_left(stream)) {
        add_frame(stream, &stream->queue, heartbeat);
        return;
    }
    stream->is_abandoned = true;
    stream_end(stream);
}

static struct frame *heartbeat_frame(int64_t now)
{
    char text[48];
    int length = snprintf(text, sizeof(text), ": heartbeat %" PRId64 "\n\n", now);

    return frame_new(text, (size_t)length);
}

static void on_sweep(uv_timer_t *timer)
{
    struct hub *hub = timer->data;
    uint64_t now_ms = uv_now(task_loop());
    int64_t now = clock_unix();
    size_t beats = hub->count / 10 > LEAST_BEATS ? hub->count / 10 : LEAST_BEATS;
    struct frame *heartbeat = NULL;

    for (struct stream *stream = hub->first; stream; stream = stream->next) {
        if (!stream->is_started || stream->is_ending)
            continue;
        if (now >= stream->ends_unix) {
            stream_end(stream);
        } else if (stream->sent_ms + HEARTBEAT_MS <= now_ms && beats > 0) {
            if (!heartbeat)
                heartbeat = heartbeat_frame(now);
            beat(stream, heartbeat);
            beats--;
        }
    }
    frame_release(heartbeat);
}

struct hub *hub_new(struct server *server)
{
    struct hub *hub = calloc(1, sizeof(*hub));

    if (!hub)
        fatal("out of memory");
    hub->server = server;
    uv_timer_init(task_loop(), &hub->sweep);
    hub->sweep.data = hub;
    if (server->redis)
        hub->subscription =
            redis_subscribe(server->redis, EVENTS_CHANNEL, on_message, on_gap, hub);
    return hub;
}

static void sweep_closed(uv_handle_t *timer)
{
    free(timer->data);
}

void hub_free(struct hub *hub)
{
    if (!hub)
        return;
    if (hub->subscription)
        redis_unsubscribe(hub->subscription);
    uv_close((uv_handle_t *)&hub->sweep, sweep_closed);
}
