/* Both ends of the benchmark: a sink that takes mail and throws it away, a load generator that sends it.
 * It measures nothing of the proxy itself; run.py does.
 *
 *   traffic sink PLAIN_PORT TLS_PORT CERT KEY              serves until killed; STARTTLS on the plain port
 *   traffic load MODE PORT WORKLOAD CLIENTS BYTES SECONDS  prints "sessions messages octets seconds errors"
 *   traffic hold MODE PORT SESSIONS                        opens them, prints "held N", keeps them until stdin ends
 *
 * MODE is plain, starttls or implicit. WORKLOAD is session (a session per message), kept (many messages on each
 * session) or pipelined (the same, the envelope in one segment, RFC 2920).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    int fd;
    SSL *tls;
    size_t at, have;
    char in[32768];
} peer;

static SSL_CTX *context;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int fill(peer *p) {
    ssize_t n = p->tls ? SSL_read(p->tls, p->in, sizeof p->in) : recv(p->fd, p->in, sizeof p->in, 0);
    if (n <= 0) return 0;
    p->at = 0;
    p->have = n;
    return 1;
}

static int say(peer *p, const char *data, size_t length) {
    while (length) {
        ssize_t n = p->tls ? SSL_write(p->tls, data, length > 1 << 20 ? 1 << 20 : (int)length)
                           : send(p->fd, data, length, MSG_NOSIGNAL);
        if (n <= 0) return 0;
        data += n;
        length -= n;
    }
    return 1;
}

/* One line with its end, cut to what fits; 0 at the end of the connection. */
static int hear(peer *p, char *line, size_t space) {
    for (size_t n = 0;;) {
        if (p->at == p->have && !fill(p)) return 0;
        char c = p->in[p->at++];
        if (n + 1 < space) line[n++] = c;
        if (c == '\n') {
            line[n] = 0;
            return 1;
        }
    }
}

static int upgrade(peer *p, int as_server) {
    p->tls = SSL_new(context);
    SSL_set_fd(p->tls, p->fd);
    return (as_server ? SSL_accept(p->tls) : SSL_connect(p->tls)) == 1;
}

static void end(peer *p) {
    if (p->tls) {
        SSL_shutdown(p->tls);
        SSL_free(p->tls);
    }
    if (p->fd >= 0) close(p->fd);
    free(p);
}

/* ---- the sink ---- */

/* Reads up to CRLF.CRLF (RFC 5321 4.1.1.4) and counts the octets, terminator included. */
static int swallow(peer *p, unsigned long long *octets) {
    static const char END[] = "\r\n.\r\n";
    int matched = 2; /* the CRLF of DATA is the first one */
    *octets = 0;
    for (;;) {
        if (p->at == p->have && !fill(p)) return 0;
        if (matched == 0) { /* in the middle of text only a CR can begin the end */
            char *cr = memchr(p->in + p->at, '\r', p->have - p->at);
            size_t next = cr ? (size_t)(cr - p->in) + 1 : p->have;
            *octets += next - p->at;
            p->at = next;
            matched = cr != NULL;
            continue;
        }
        char c = p->in[p->at++];
        ++*octets;
        matched = c == END[matched] ? matched + 1 : c == '\r';
        if (matched == 5) return 1;
    }
}

static const char *answer(peer *p, const char *line) {
    if (!strncasecmp(line, "EHLO", 4))
        return p->tls ? "250-sink.example\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250 8BITMIME\r\n"
                      : "250-sink.example\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-STARTTLS\r\n250 8BITMIME\r\n";
    if (!strncasecmp(line, "STARTTLS", 8)) return "220 2.0.0 go ahead\r\n";
    if (!strncasecmp(line, "DATA", 4)) return "354 go on, end with a dot\r\n";
    if (!strncasecmp(line, "QUIT", 4)) return "221 2.0.0 bye\r\n";
    return "250 2.0.0 ok\r\n";
}

static void *serve(void *argument) {
    peer *p = argument;
    char line[2048], reply[64];
    unsigned long long octets;
    no_delay(p->fd);
    if (p->have && (p->have = 0, !upgrade(p, 1))) goto out; /* accept_on() marks implicit TLS there */
    if (!say(p, "220 sink.example ESMTP\r\n", 24)) goto out;
    while (hear(p, line, sizeof line)) {
        const char *text = answer(p, line);
        if (!say(p, text, strlen(text)) || text[2] == '1') break;
        if (!strncasecmp(line, "STARTTLS", 8)) {
            p->at = p->have = 0;
            if (!upgrade(p, 1)) break;
        } else if (text[0] == '3') {
            if (!swallow(p, &octets)) break;
            int n = snprintf(reply, sizeof reply, "250 2.0.0 took %llu\r\n", octets);
            if (!say(p, reply, n)) break;
        }
    }
out:
    end(p);
    return NULL;
}

static void *accept_on(void *argument) {
    int *where = argument, on = 1; /* port, is_tls */
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(where[0]), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096)) {
        perror("sink");
        exit(1);
    }
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 << 10);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    for (;;) {
        peer *p = calloc(1, sizeof *p);
        pthread_t thread;
        p->fd = accept(fd, NULL, NULL);
        p->have = where[1];
        if (p->fd < 0 || pthread_create(&thread, &small, serve, p)) end(p);
    }
    return NULL;
}

/* ---- the load ---- */

static enum { PLAIN, STARTTLS, IMPLICIT } mode;
static int port, is_kept, is_pipelined;
static char *body;
static size_t body_octets;
static double deadline;
static atomic_long sessions, messages, errors;

/* The last line's code of the next reply; 0 at the end of the connection. `took` gets the number after "took". */
static int reply_code(peer *p, unsigned long long *took) {
    char line[1024];
    do
        if (!hear(p, line, sizeof line)) return 0;
    while (line[3] == '-');
    char *number = took ? strstr(line, "took ") : NULL;
    if (number) *took = strtoull(number + 5, NULL, 10);
    return atoi(line);
}

static int ask(peer *p, const char *line, int want) { return say(p, line, strlen(line)) && reply_code(p, NULL) == want; }

static peer *open_session(void) {
    peer *p = calloc(1, sizeof *p);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    p->fd = socket(AF_INET, SOCK_STREAM, 0);
    no_delay(p->fd);
    if (!connect(p->fd, (struct sockaddr *)&a, sizeof a) && (mode != IMPLICIT || upgrade(p, 0)) &&
        reply_code(p, NULL) == 220 && ask(p, "EHLO load.example\r\n", 250) &&
        (mode != STARTTLS || (ask(p, "STARTTLS\r\n", 220) && upgrade(p, 0) && ask(p, "EHLO load.example\r\n", 250))))
        return p;
    end(p);
    errors++;
    return NULL;
}

static int send_message(peer *p) {
    static const char *ENVELOPE[] = {"MAIL FROM:<a@load.example>\r\n", "RCPT TO:<b@sink.example>\r\n", "DATA\r\n"};
    static const char TOGETHER[] = "MAIL FROM:<a@load.example>\r\nRCPT TO:<b@sink.example>\r\nDATA\r\n";
    if (is_pipelined && !say(p, TOGETHER, sizeof TOGETHER - 1)) return 0;
    for (int i = 0; i < 3; i++) {
        if (!is_pipelined && !say(p, ENVELOPE[i], strlen(ENVELOPE[i]))) return 0;
        if (reply_code(p, NULL) != (i < 2 ? 250 : 354)) return 0;
    }
    unsigned long long took = 0;
    return say(p, body, body_octets) && reply_code(p, &took) == 250 && took == body_octets;
}

static void *work(void *unused) {
    (void)unused;
    int failed_in_a_row = 0;
    do {
        peer *p = open_session();
        int is_good = p != NULL;
        while (is_good) {
            is_good = send_message(p);
            messages += is_good;
            errors += !is_good;
            if (!is_kept || seconds() >= deadline) break;
        }
        if (is_good && ask(p, "QUIT\r\n", 221)) sessions++;
        if (p) end(p);
        failed_in_a_row = is_good ? 0 : failed_in_a_row + 1;
    } while (seconds() < deadline && failed_in_a_row < 20);
    return NULL;
}

static void make_body(size_t octets) {
    static const char HEADERS[] = "From: <a@load.example>\r\nTo: <b@sink.example>\r\nSubject: load\r\n\r\n";
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned seed = 1;
    body = malloc(octets + sizeof HEADERS + 128);
    body_octets = sprintf(body, "%s", HEADERS);
    for (int line = 0; body_octets < octets; line++) {
        for (int i = 0; i < 76; i++) body[body_octets++] = DIGITS[(seed = seed * 1664525u + 1013904223u) >> 26];
        if (line % 16 == 5) memcpy(body + body_octets - 76, "..", 2); /* dot-stuffed, as in real mail */
        memcpy(body + body_octets, "\r\n", 2);
        body_octets += 2;
    }
    memcpy(body + body_octets, ".\r\n", 3);
    body_octets += 3;
}

static int load(char **argument) {
    int clients = atoi(argument[3]);
    is_pipelined = !strcmp(argument[2], "pipelined");
    is_kept = is_pipelined || !strcmp(argument[2], "kept");
    make_body(strtoul(argument[4], NULL, 10));
    pthread_t threads[256];
    double began = seconds();
    deadline = began + atof(argument[5]);
    for (int i = 0; i < clients && i < 256; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < clients && i < 256; i++) pthread_join(threads[i], NULL);
    printf("%ld %ld %.0f %.6f %ld\n", sessions, messages, (double)messages * body_octets, seconds() - began, errors);
    return 0;
}

static int hold(char **argument) {
    int wanted = atoi(argument[2]), held = 0;
    for (int i = 0; i < wanted; i++) held += open_session() != NULL;
    printf("held %d\n", held);
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0; /* the kernel closes them all */
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc == 6 && !strcmp(argv[1], "sink")) {
        context = SSL_CTX_new(TLS_server_method());
        SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
        if (SSL_CTX_use_certificate_chain_file(context, argv[4]) != 1 ||
            SSL_CTX_use_PrivateKey_file(context, argv[5], SSL_FILETYPE_PEM) != 1) {
            fprintf(stderr, "sink: cannot use %s and %s\n", argv[4], argv[5]);
            return 1;
        }
        int plain[] = {atoi(argv[2]), 0}, implicit[] = {atoi(argv[3]), 1};
        pthread_t thread;
        pthread_create(&thread, NULL, accept_on, plain);
        accept_on(implicit);
    }
    if (argc > 4 && (!strcmp(argv[1], "load") || !strcmp(argv[1], "hold"))) {
        context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        mode = !strcmp(argv[2], "starttls") ? STARTTLS : !strcmp(argv[2], "implicit") ? IMPLICIT : PLAIN;
        port = atoi(argv[3]);
        if (!strcmp(argv[1], "hold")) return hold(argv + 2);
        if (argc == 8) return load(argv + 2);
    }
    fprintf(stderr, "traffic sink PLAIN_PORT TLS_PORT CERT KEY\n"
                    "traffic load MODE PORT session|kept|pipelined CLIENTS BYTES SECONDS\n"
                    "traffic hold MODE PORT SESSIONS\n");
    return 2;
}
