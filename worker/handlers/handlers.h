/*
 * handlers.h - every handler of the route table, one line each.
 *
 * A handler runs in the request's task, after access, limits and body; it
 * returns what reply_*() returned. One file per resource.
 */
#ifndef FORKMARK_WORKER_HANDLERS_H
#define FORKMARK_WORKER_HANDLERS_H

#include "worker/reply.h"
#include "worker/request.h"

/* auth.c, auth_login.c, auth_session.c, auth_account.c */
enum http_status auth_register(struct request *req);
enum http_status auth_login(struct request *req);
enum http_status auth_refresh(struct request *req);
enum http_status auth_logout(struct request *req);
enum http_status auth_verify(struct request *req);
enum http_status auth_check_username(struct request *req);
enum http_status auth_update_username(struct request *req);
enum http_status auth_set_password(struct request *req);

/* bookmarks.c, bookmarks_save.c, bookmarks_delete.c, bookmarks_extract.c,
 * bookmarks_stats.c */
enum http_status bookmark_list(struct request *req);
enum http_status bookmark_create(struct request *req);
enum http_status bookmark_quick_save(struct request *req);
enum http_status bookmark_check_duplicate(struct request *req);
enum http_status bookmark_extract_url(struct request *req);
enum http_status bookmark_delete(struct request *req);
enum http_status bookmark_delete_by_url(struct request *req);
enum http_status bookmark_delete_all(struct request *req);
enum http_status bookmark_stats(struct request *req);

/* search.c */
enum http_status search_text(struct request *req);

/* events.c */
enum http_status events_stream(struct request *req);

/* health.c, metrics.c */
enum http_status health_overview(struct request *req);
enum http_status health_liveness(struct request *req);
enum http_status health_readiness(struct request *req);
enum http_status health_queue(struct request *req);
enum http_status health_redis(struct request *req);
enum http_status health_database(struct request *req);
enum http_status metrics_show(struct request *req);

/* trial.c: for tests */
enum http_status trial_wait(struct request *req);

/* page.c: the built-in page, or files of server.static_dir */
enum http_status page_show(struct request *req);

#endif
