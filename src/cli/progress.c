/* SPDX-License-Identifier: Apache-2.0
 * progress.c - see progress.h. */
#include "cli/progress.h"

#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define DRAW_EVERY_S 0.1
#define BAR_COLUMNS  24u

static volatile sig_atomic_t stop_signal;

static void ask_to_stop(int signal_number)
{
    stop_signal = signal_number;
}

void cli_progress_catch_signals(void)
{
    /* Not SA_RESTART: a read that waits for input ends. A second Ctrl-C ends the tool at once. */
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int cli_progress_stop_signal(void)
{
    return stop_signal;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void cli_progress_init(struct cli_progress *p, FILE *err)
{
    *p = (struct cli_progress){.err = err, .is_shown = isatty(fileno(err)) == 1};
}

void cli_progress_end(struct cli_progress *p)
{
    if (p->is_shown && p->drawn > 0)
        fprintf(p->err, "\r\033[K");
    p->drawn = 0;
    p->what[0] = '\0';
}

static unsigned columns_of(FILE *terminal)
{
    struct winsize size = {0};
    if (ioctl(fileno(terminal), TIOCGWINSZ, &size) != 0 || size.ws_col < 20)
        return 80;
    return size.ws_col;
}

static void format_seconds(char *text, size_t size, double s)
{
    if (s < 100)
        snprintf(text, size, "%.0f s", s);
    else if (s < 6000)
        snprintf(text, size, "%.0f min", s / 60);
    else
        snprintf(text, size, "%.1f h", s / 3600);
}

void cli_progress_line(char *text, size_t size, unsigned columns, const char *what, uint64_t done,
                       uint64_t total, double elapsed_s)
{
    char bar[BAR_COLUMNS + 1], line[256], left[32];
    double rate = elapsed_s > 0 ? (double)done / elapsed_s : 0;
    if (total == 0) {
        snprintf(line, sizeof line, "%s: %llu, %.*f/s", what, (unsigned long long)done,
                 rate < 10 ? 1 : 0, rate);
    } else {
        double share = done < total ? (double)done / (double)total : 1;
        unsigned full = (unsigned)(share * BAR_COLUMNS);
        memset(bar, '-', BAR_COLUMNS);
        memset(bar, '#', full);
        bar[BAR_COLUMNS] = '\0';
        format_seconds(left, sizeof left, rate > 0 ? (double)(total - done) / rate : 0);
        bool is_running = done < total && rate > 0;
        snprintf(line, sizeof line, "%s [%s] %.0f %% %llu/%llu, %.*f/s%s%s%s", what, bar,
                 100 * share, (unsigned long long)done, (unsigned long long)total,
                 rate < 10 ? 1 : 0, rate, is_running ? ", " : "", is_running ? left : "",
                 is_running ? " left" : "");
    }
    size_t room = columns > 0 && columns < size ? columns : size;
    snprintf(text, room, "%s", line); /* one column stays free: the cursor's */
}

int cli_progress_step(void *payload, const char *what, uint64_t done, uint64_t total)
{
    struct cli_progress *p = payload;
    if (stop_signal != 0)
        return 1;
    if (!p->is_shown)
        return 0;
    double now = now_s();
    if (strncmp(p->what, what, sizeof p->what - 1) != 0) {
        snprintf(p->what, sizeof p->what, "%s", what);
        p->started = now;
    }
    if (now - p->drawn >= DRAW_EVERY_S) {
        char line[256];
        p->drawn = now;
        cli_progress_line(line, sizeof line, columns_of(p->err), p->what, done, total,
                          now - p->started);
        fprintf(p->err, "\r%s\033[K", line);
        fflush(p->err);
    }
    return 0;
}
