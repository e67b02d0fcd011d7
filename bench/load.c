/* Load generator: sends prepared HTTP/1.1 requests over keep-alive connections, and prints one JSON object.
 *
 *   load PORT FILE CONNECTIONS WARM_UP RATE EXPECT [ANSWERS]
 *
 * FILE holds whole requests, each after its length (4 bytes, little endian). Each is sent once. The first WARM_UP of
 * them are not counted. RATE 0 is a closed loop: a connection sends its next request when it has its answer. Another
 * RATE is an open loop: a request is due every 1/RATE seconds, and its latency counts from then, also while it waits
 * for a free connection. An answer must have the status 200, Content-Length, and EXPECT in its body; where EXPECT is
 * "access_token", also a token that no other answer has. Anything else ends the run with exit code 1. The bodies go to
 * the file ANSWERS, one a line.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_BYTES 65536
#define SILENCE_MS 20000

typedef struct {
    int socket, is_busy;
    size_t request, sent, got;
    double begun;
    char answer[ANSWER_BYTES + 1];
} Connection;

static char *file;
static size_t *starts, requests, next_request, answered, warm_up;
static double *latencies, started, ended, cpu_started, rate, first_due;
static uint64_t *tokens;
static size_t token_count;
static const char *expect;
static int port, poller, is_for_tokens;
static FILE *answers;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static double cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

static void *get(size_t bytes) {
    void *memory = calloc(1, bytes ? bytes : 1);
    if (!memory) fail("no memory");
    return memory;
}

static void read_requests(const char *path) {
    struct stat found;
    int source = open(path, O_RDONLY);
    if (source < 0 || fstat(source, &found) < 0) fail("%s: %s", path, strerror(errno));
    size_t bytes = found.st_size, got = 0;
    file = get(bytes);
    while (got < bytes) {
        ssize_t more = read(source, file + got, bytes - got);
        if (more <= 0) fail("%s: %s", path, strerror(errno));
        got += more;
    }
    close(source);
    uint32_t length;
    for (size_t at = 0; at + 4 <= bytes; at += 4 + length, requests++) memcpy(&length, file + at, 4);
    starts = get((requests + 1) * sizeof *starts);
    for (size_t at = 0, n = 0; n < requests; at += 4 + length, n++) {
        memcpy(&length, file + at, 4);
        starts[n] = at;
    }
    latencies = get(requests * sizeof *latencies);
    tokens = get(requests * sizeof *tokens);
}

static void open_connection(Connection *connection) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    connection->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (connection->socket < 0 || connect(connection->socket, (void *)&address, sizeof address) < 0)
        fail("port %d: %s", port, strerror(errno));
    setsockopt(connection->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(connection->socket, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, connection->socket, &event) < 0) fail("epoll: %s", strerror(errno));
}

static void watch(Connection *connection, int for_writing) {
    struct epoll_event event = {.events = EPOLLIN | (for_writing ? EPOLLOUT : 0), .data.ptr = connection};
    epoll_ctl(poller, EPOLL_CTL_MOD, connection->socket, &event);
}

static void send_rest(Connection *connection, int was_blocked) {
    uint32_t length;
    const char *request = file + starts[connection->request];
    memcpy(&length, request, 4);
    while (connection->sent < length) {
        ssize_t sent = send(connection->socket, request + 4 + connection->sent, length - connection->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            watch(connection, 1);
            return;
        }
        if (sent < 0) fail("request %zu: %s", connection->request, strerror(errno));
        connection->sent += sent;
    }
    if (was_blocked) watch(connection, 0);
}

static double due(size_t request) { return first_due + request / rate; }

/* Send the next request, if there is one and it is due. */
static void begin(Connection *connection) {
    double time = now();
    if (next_request == requests || (rate > 0 && due(next_request) > time)) return;
    connection->request = next_request++;
    connection->is_busy = 1;
    connection->sent = connection->got = 0;
    connection->begun = rate > 0 ? due(connection->request) : time;
    if (connection->request == warm_up) {
        started = time;
        cpu_started = cpu();
    }
    send_rest(connection, 0);
}

static uint64_t hash(const char *text, size_t length) {
    uint64_t value = 14695981039346656037ULL;
    for (size_t n = 0; n < length; n++) value = (value ^ (unsigned char)text[n]) * 1099511628211ULL;
    return value;
}

static void check(Connection *connection, const char *body, size_t length) {
    const char *found = memmem(body, length, expect, strlen(expect));
    if (strncmp(connection->answer + 9, "200", 3) || !found)
        fail("request %zu was answered: %.*s", connection->request, (int)connection->got, connection->answer);
    if (is_for_tokens) {
        const char *token = strchr(found + strlen(expect) + 1, '"'), *end = token ? strchr(token + 1, '"') : NULL;
        if (!end || end - token < 9) fail("request %zu got no token: %s", connection->request, body);
        tokens[token_count++] = hash(token + 1, end - token - 1);
    }
    if (answers) fprintf(answers, "%.*s\n", (int)length, body);
}

/* Return the length of the body once the whole answer is there, or -1. */
static long whole(Connection *connection, char **body) {
    connection->answer[connection->got] = 0;
    char *end = strstr(connection->answer, "\r\n\r\n");
    if (!end) return -1;
    char *length = strcasestr(connection->answer, "\r\ncontent-length:");
    if (!length || length > end) fail("an answer without Content-Length: %s", connection->answer);
    long bytes = atol(length + 17);
    *body = end + 4;
    return connection->answer + connection->got >= *body + bytes ? bytes : -1;
}

static void receive(Connection *connection) {
    char *body;
    long length;
    ssize_t got = recv(connection->socket, connection->answer + connection->got, ANSWER_BYTES - connection->got, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0 || !connection->is_busy)
        fail("request %zu: the server closed the connection, or the answer is too long", connection->request);
    connection->got += got;
    if ((length = whole(connection, &body)) < 0) return;
    check(connection, body, length);
    ended = now();
    latencies[connection->request] = ended - connection->begun;
    answered++;
    connection->is_busy = 0;
    begin(connection);
}

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static int ascending_tokens(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void print(int connections) {
    size_t counted = requests - warm_up;
    double *measured = latencies + warm_up, seconds = ended - started;
    qsort(measured, counted, sizeof *measured, ascending);
    qsort(tokens, token_count, sizeof *tokens, ascending_tokens);
    for (size_t n = 1; n < token_count; n++)
        if (tokens[n] == tokens[n - 1]) fail("two answers have the same token");
    printf("{\"connections\": %d, \"requests\": %zu, \"warm_up\": %zu, \"seconds\": %.6f, \"rate\": %.1f, ", connections,
           counted, warm_up, seconds, counted / seconds);
    printf("\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f, \"generator\": %.3f}\n",
           measured[counted / 2] * 1e3, measured[counted * 9 / 10] * 1e3, measured[counted * 99 / 100] * 1e3,
           measured[counted - 1] * 1e3, (cpu() - cpu_started) / seconds);
}

int main(int count, char **words) {
    if (count < 7) fail("usage: load PORT FILE CONNECTIONS WARM_UP RATE EXPECT [ANSWERS]");
    port = atoi(words[1]);
    read_requests(words[2]);
    int number = atoi(words[3]);
    warm_up = atol(words[4]);
    rate = atof(words[5]);
    expect = words[6];
    is_for_tokens = !strcmp(expect, "access_token");
    if (number < 1 || warm_up >= requests) fail("%zu requests, of which %zu are to warm up", requests, warm_up);
    if (count > 7 && !(answers = fopen(words[7], "w"))) fail("%s: %s", words[7], strerror(errno));
    poller = epoll_create1(0);
    int ticks = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event events[256], tick = {.events = EPOLLIN, .data.ptr = NULL};
    Connection *connections = get(number * sizeof *connections);
    for (int n = 0; n < number; n++) open_connection(connections + n);
    if (rate > 0) {
        struct itimerspec every = {{0, 100000}, {0, 100000}};
        timerfd_settime(ticks, 0, &every, NULL);
        epoll_ctl(poller, EPOLL_CTL_ADD, ticks, &tick);
    }
    first_due = now();
    for (int n = 0; n < number; n++) begin(connections + n);
    double last = now();
    while (answered < requests) {
        int ready = epoll_wait(poller, events, 256, 1000);
        size_t before = answered;
        for (int n = 0; n < ready; n++) {
            Connection *connection = events[n].data.ptr;
            if (!connection) {
                uint64_t passed;
                if (read(ticks, &passed, sizeof passed) < 0 && errno != EAGAIN) fail("timer: %s", strerror(errno));
                for (int m = 0; m < number && next_request < requests && due(next_request) <= now(); m++)
                    if (!connections[m].is_busy) begin(connections + m);
                continue;
            }
            if (events[n].events & EPOLLOUT) send_rest(connection, 1);
            if (events[n].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(connection);
        }
        if (answered > before) last = now();
        if ((now() - last) * 1e3 > SILENCE_MS) fail("no answer for %d s", SILENCE_MS / 1000);
    }
    if (answers) fclose(answers);
    print(number);
    return 0;
}
