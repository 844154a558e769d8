/* SPDX-License-Identifier: Apache-2.0
 * streams.c - see streams.h. */
#include "cli/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

void cli_streams_init(void)
{
    /* open gives the lowest free number: the one that was found closed. 1 and 2 are filled
     * read-only, so that writing to them still fails. */
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF && open("/dev/null", O_RDONLY) != fd)
            _exit(1);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
}

int cli_streams_flush(FILE *out, metallm_error *err)
{
    errno = 0;
    if (fflush(out) == 0 && !ferror(out))
        return METALLM_OK;
    int cause = errno != 0 ? errno : EIO;
    return metallm__error_set(err, METALLM_EIO, "cannot write to standard output: %s",
                              strerror(cause));
}
