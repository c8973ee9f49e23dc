/*
 * password.c - one idle-priority thread that hashes, and the queue before it.
 *
 * The queue belongs to the loop's thread alone; the hashing thread is given one job at
 * a time. No lock is shared: a thread at SCHED_IDLE that is put aside while it holds one
 * would stop every request of this process.
 *
 * A job has two holders: the task that waits (its arena lets go by a deferred call) and
 * the queue (which lets go when the loop has heard of the result). The later of the two
 * frees it, so a request may be cancelled at any moment. A task that leaves before its
 * turn takes its job out of the queue.
 */
#include "common/password.h"
#include "common/arena.h"
#include "common/log.h"
#include "common/password_werkzeug.h"
#include "common/task.h"

#include <crypt.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* bcrypt looks at no more, and libcrypt refuses what is much longer. */
#define BCRYPT_BYTES 72
#define ROUNDS_MIN   4
#define ROUNDS_MAX   31
/* Stands for a hash of no form we know. */
#define UNREADABLE "!"

enum job_kind { JOB_HASH, JOB_VERIFY };

struct job {
    struct job *next;
    enum job_kind kind;
    int rounds;
    char *password;                /* ours; wiped before it is freed */
    char hash[PASSWORD_HASH_SIZE]; /* JOB_VERIFY in, JOB_HASH out; "" asks for a dummy */
    int result;
    struct task *task; /* NULL: nobody waits any more */
    int holders;       /* the task's arena, the queue; counted on the loop's thread */
};

static struct {
    pthread_t thread;
    sem_t work; /* posted once for `current`, and to end the thread */
    _Atomic(struct job *) done;
    struct job *current; /* with the thread since the post; NULL: it is idle or to end */

    /* The loop's thread only: */
    bool is_running;
    uv_async_t wake;
    struct job *first, **last; /* waiting, `waiting_count` of them */
    int waiting_count;
} engine;

/* The thread's own; 32 KiB, too much for a stack. */
static struct crypt_data crypt_state;

/* What runs on the thread. */

static const char *bcrypt(const char *password, const char *setting)
{
    char cut[BCRYPT_BYTES + 1];

    snprintf(cut, sizeof(cut), "%s", password);
    const char *hash = crypt_r(cut, setting, &crypt_state);
    OPENSSL_cleanse(cut, sizeof(cut));
    return hash && hash[0] == '$' ? hash : NULL;
}

static int hash_new(const char *password, int rounds, char ret[PASSWORD_HASH_SIZE])
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];

    if (!crypt_gensalt_rn("$2b$", (unsigned long)rounds, NULL, 0, setting,
                          sizeof(setting)))
        return -EINVAL;
    const char *hash = bcrypt(password, setting);
    size_t length = hash ? strlen(hash) : PASSWORD_HASH_SIZE;
    if (length >= PASSWORD_HASH_SIZE)
        return -EINVAL;
    memcpy(ret, hash, length + 1);
    return 0;
}

static bool is_bcrypt(const char *hash)
{
    return hash[0] == '$' && hash[1] == '2' &&
           (hash[2] == 'a' || hash[2] == 'b' || hash[2] == 'y') && hash[3] == '$';
}

static int verify(const char *password, const char *hash)
{
    if (werkzeug_is_hash(hash))
        return werkzeug_verify(password, hash);

    const char *computed = bcrypt(password, hash);
    size_t length = strlen(hash);
    if (!computed || strlen(computed) != length)
        return -EINVAL;
    return CRYPTO_memcmp(computed, hash, length) == 0;
}

static void run_job(struct job *job)
{
    char dummy[PASSWORD_HASH_SIZE];

    if (job->kind == JOB_HASH)
        job->result = hash_new(job->password, job->rounds, job->hash);
    else if (job->hash[0] != '\0')
        job->result = verify(job->password, job->hash);
    /* Who has no hash, or one that cannot be read, must not be told by the time. */
    if (job->kind == JOB_VERIFY && (job->hash[0] == '\0' || job->result < 0) &&
        hash_new(job->password, job->rounds, dummy) < 0)
        job->result = -EINVAL;
}

static void *thread_main(void *arg)
{
    struct sched_param idle = { .sched_priority = 0 };

    (void)arg;
    pthread_setname_np(pthread_self(), "password");
    if (pthread_setschedparam(pthread_self(), SCHED_IDLE, &idle) != 0)
        log_warn("password hashing runs at normal priority: SCHED_IDLE is refused");

    for (;;) {
        while (sem_wait(&engine.work) != 0)
            ; /* EINTR */
        struct job *job = engine.current;
        if (!job)
            return NULL;
        run_job(job);
        atomic_store(&engine.done, job);
        uv_async_send(&engine.wake);
    }
}

/* What runs on the loop. */

static void let_go(void *arg)
{
    struct job *job = arg;

    if (--job->holders > 0)
        return;
    OPENSSL_cleanse(job->password, strlen(job->password));
    free(job->password);
    free(job);
}

static void queue_add(struct job *job)
{
    job->next = NULL;
    *engine.last = job;
    engine.last = &job->next;
    engine.waiting_count++;
}

static bool queue_remove(struct job *job)
{
    for (struct job **at = &engine.first; *at; at = &(*at)->next) {
        if (*at != job)
            continue;
        *at = job->next;
        if (!*at)
            engine.last = at;
        engine.waiting_count--;
        return true;
    }
    return false;
}

/* The next job goes to the thread. While it has one, the handle keeps the loop alive. */
static void give_next(void)
{
    struct job *job = engine.first;

    if (engine.current)
        return;
    if (!job) {
        uv_unref((uv_handle_t *)&engine.wake);
        return;
    }
    uv_ref((uv_handle_t *)&engine.wake);
    queue_remove(job);
    engine.current = job;
    sem_post(&engine.work);
}

static void on_wake(uv_async_t *handle)
{
    struct job *job = atomic_exchange(&engine.done, NULL);

    (void)handle;
    if (!job)
        return;
    engine.current = NULL;
    if (job->task)
        task_wake(job->task, 0);
    let_go(job);
    give_next();
}

static void on_cancel(void *arg)
{
    struct job *job = arg;

    job->task = NULL;
    if (queue_remove(job))
        let_go(job);
}

/* With every signal blocked, so that all of them reach the loop. */
static bool start_thread(void)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&engine.thread, NULL, thread_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        log_error("cannot start the password thread: %s", strerror(rc));
    return rc == 0;
}

static void end_thread(void)
{
    sem_post(&engine.work);
    pthread_join(engine.thread, NULL);
    sem_destroy(&engine.work);
}

static bool engine_start(void)
{
    if (engine.is_running)
        return true;
    engine.last = &engine.first;
    if (sem_init(&engine.work, 0, 0) != 0)
        return false;
    if (!start_thread()) {
        sem_destroy(&engine.work);
        return false;
    }
    if (uv_async_init(task_loop(), &engine.wake, on_wake) < 0) {
        end_thread();
        return false;
    }
    uv_unref((uv_handle_t *)&engine.wake);
    engine.is_running = true;
    return true;
}

void password_stop(void)
{
    if (!engine.is_running)
        return;
    while (engine.current) /* at most one hash is under way, and nobody waits for it */
        uv_run(task_loop(), UV_RUN_ONCE);
    end_thread();
    uv_close((uv_handle_t *)&engine.wake, NULL);
    uv_run(task_loop(), UV_RUN_NOWAIT);
    engine.is_running = false;
}

static int submit(struct job *job)
{
    if (engine.waiting_count >= PASSWORD_QUEUE)
        return -EBUSY;
    job->holders++;
    queue_add(job);
    give_next();
    return 0;
}

/* The job's result; for JOB_HASH the hash goes to `ret`. Yields. */
static int run(enum job_kind kind, const char *password, const char *hash, int rounds,
               char *ret)
{
    if (rounds < ROUNDS_MIN || rounds > ROUNDS_MAX)
        return -EINVAL;
    if (!engine_start())
        return -EBUSY;

    struct job *job = calloc(1, sizeof(*job));
    if (!job || !(job->password = strdup(password)))
        abort();
    job->kind = kind;
    job->rounds = rounds;
    job->holders = 1;
    job->task = task_self();
    if (hash)
        snprintf(job->hash, sizeof(job->hash), "%s", hash);
    struct arena_deferred *deferred = arena_defer(task_arena(), let_go, job);

    int rc = submit(job);
    if (rc == 0)
        rc = task_park(&(struct task_park){
            .waiting_on = "password", .on_cancel = on_cancel, .arg = job });
    if (rc == 0)
        rc = job->result;
    if (rc == 0 && ret)
        memcpy(ret, job->hash, PASSWORD_HASH_SIZE);

    /* Wiped now, not when the request ends. */
    arena_undefer(deferred);
    let_go(job);
    return rc;
}

int password_hash(const char *password, int rounds, char ret[PASSWORD_HASH_SIZE])
{
    return run(JOB_HASH, password, NULL, rounds, ret);
}

int password_verify(const char *password, const char *hash, int rounds)
{
    /* libcrypt knows more forms than we accept. */
    if (hash && ((!is_bcrypt(hash) && !werkzeug_is_hash(hash)) ||
                 strlen(hash) >= PASSWORD_HASH_SIZE))
        hash = UNREADABLE;
    return run(JOB_VERIFY, password, hash, rounds, NULL);
}

bool password_is_outdated(const char *hash, int rounds)
{
    char cost[4];

    snprintf(cost, sizeof(cost), "%02d", rounds);
    return !is_bcrypt(hash) || strncmp(hash + 4, cost, 2) != 0 || hash[6] != '$';
}
