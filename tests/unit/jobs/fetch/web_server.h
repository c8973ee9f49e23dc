/*
 * web_server.h - a small web server on 127.0.0.1 with every bad manner we know.
 *
 * It runs in a process of its own, one more for each connection, and ends with the
 * test program. What it answers is a table of paths.
 */
#ifndef FORKMARK_TESTS_UNIT_WEB_SERVER_H
#define FORKMARK_TESTS_UNIT_WEB_SERVER_H

#include <arpa/inet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

struct web_server {
    pid_t pid;
    int port;
};

static inline void web_send(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent <= 0)
            _exit(0);
        data += sent;
        length -= (size_t)sent;
    }
}

static inline void web_sends(int fd, const char *text)
{
    web_send(fd, text, strlen(text));
}

static inline void web_answer(int fd, const char *head, const char *body)
{
    char text[512];

    snprintf(text, sizeof(text),
             "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", head,
             strlen(body));
    web_sends(fd, text);
    web_sends(fd, body);
}

/* `size` zeros, gzip'ed: 1000 times smaller. */
static inline void web_send_bomb(int fd, size_t size)
{
    static char zeros[65536], out[65536];
    z_stream z = { 0 };

    deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    web_sends(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
                  "Content-Encoding: gzip\r\nConnection: close\r\n\r\n");
    for (size_t done = 0; done < size; done += sizeof(zeros)) {
        z.next_in = (unsigned char *)zeros;
        z.avail_in = sizeof(zeros);
        while (z.avail_in > 0) {
            z.next_out = (unsigned char *)out;
            z.avail_out = sizeof(out);
            deflate(&z, done + sizeof(zeros) >= size ? Z_FINISH : Z_NO_FLUSH);
            web_send(fd, out, sizeof(out) - z.avail_out);
        }
    }
    z.next_out = (unsigned char *)out;
    z.avail_out = sizeof(out);
    deflate(&z, Z_FINISH);
    web_send(fd, out, sizeof(out) - z.avail_out);
    deflateEnd(&z);
}

static inline void web_page(int fd, const char *path, const char *request, int port)
{
    char head[512];
    int number;

    if (sscanf(path, "/status/%d", &number) == 1) {
        snprintf(head, sizeof(head), "%d Status\r\nContent-Type: text/html", number);
        web_answer(fd, head, "<p>status");
    } else if (sscanf(path, "/redirect/%d", &number) == 1) {
        snprintf(head, sizeof(head), "302 Found\r\nLocation: /%s%.0d",
                 number > 1 ? "redirect/" : "ok", number > 1 ? number - 1 : 0);
        web_answer(fd, head, "moved");
    } else if (strcmp(path, "/loop") == 0) {
        web_answer(fd, "301 Moved\r\nLocation: /loop", "");
    } else if (strcmp(path, "/to-file") == 0) {
        web_answer(fd, "302 Found\r\nLocation: file:///etc/passwd", "");
    } else if (strcmp(path, "/to-ftp") == 0) {
        web_answer(fd, "302 Found\r\nLocation: ftp://127.0.0.1/", "");
    } else if (strcmp(path, "/to-localhost") == 0) {
        snprintf(head, sizeof(head), "302 Found\r\nLocation: http://localhost:%d/ok",
                 port);
        web_answer(fd, head, "");
    } else if (strcmp(path, "/echo") == 0) {
        web_answer(fd, "200 OK\r\nContent-Type: text/plain; charset=utf-8", request);
    } else if (strcmp(path, "/article") == 0) {
        web_answer(fd, "200 OK\r\nContent-Type: text/html; charset=utf-8",
                   "<html lang=en><head><title>An article</title>"
                   "<meta name=author content='Ada Lovelace'>"
                   "<meta property=og:type content=article>"
                   "<meta property=article:published_time content='2026-11-23T14:36:50Z'>"
                   "</head><body><article><h1>An article</h1>"
                   "<p>Python and PostgreSQL, caf\xC3\xA9.</p></article></body></html>");
    } else if (strcmp(path, "/article-later") == 0) {
        usleep(300000);
        web_answer(fd, "200 OK\r\nContent-Type: text/html",
                   "<title>Late</title><p>Late text.");
    } else if (strcmp(path, "/pdf") == 0) {
        web_answer(fd, "200 OK\r\nContent-Type: application/pdf", "%PDF-1.7");
    } else if (strcmp(path, "/slow") == 0) {
        sleep(20);
    } else if (strcmp(path, "/slow-body") == 0) {
        web_sends(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart");
        sleep(20);
    } else if (strcmp(path, "/endless") == 0) {
        web_sends(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n");
        for (;;)
            web_sends(fd,
                      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    } else if (strcmp(path, "/bomb") == 0) {
        web_send_bomb(fd, (size_t)64 << 20);
    } else if (strcmp(path, "/gzip") == 0) {
        web_send_bomb(fd, 65536);
    } else if (strcmp(path, "/cut") == 0) {
        web_sends(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart");
    } else if (strcmp(path, "/nothing") == 0) {
        return;
    } else if (strcmp(path, "/garbage") == 0) {
        web_sends(fd, "this is no HTTP at all\r\n\r\n");
    } else {
        web_answer(fd, "200 OK\r\nContent-Type: text/html", "<p>ok");
    }
}

static inline void web_serve(int fd, int port)
{
    char request[8192], path[2048] = "";
    size_t length = 0;

    for (;;) {
        ssize_t got = recv(fd, request + length, sizeof(request) - 1 - length, 0);
        if (got <= 0)
            return;
        length += (size_t)got;
        request[length] = '\0';
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    sscanf(request, "GET %2047s", path);
    web_page(fd, path, request, port);
}

static inline void web_server_start(struct web_server *server)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(listener, (struct sockaddr *)&address, size) != 0 ||
        listen(listener, 64) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        abort();
    server->port = ntohs(address.sin_port);
    server->pid = fork();
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGCHLD, SIG_IGN);
        for (;;) {
            int fd = accept(listener, NULL, NULL);
            if (fd >= 0 && fork() == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                web_serve(fd, server->port);
                shutdown(fd, SHUT_RDWR);
                _exit(0);
            }
            close(fd);
        }
    }
    close(listener);
}

static inline void web_server_stop(struct web_server *server)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

#endif
