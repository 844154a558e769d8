/* SPDX-License-Identifier: Apache-2.0
 * metallm/base.h - what every public header shares: result codes, the error record, the random
 * number generator, progress. Nothing here allocates and nothing is global. */
#ifndef METALLM_BASE_H
#define METALLM_BASE_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define METALLM_VERSION   "0.1.0"
#define METALLM_API       __attribute__((visibility("default")))
#define METALLM_MUSTCHECK __attribute__((warn_unused_result))

/* Every call that can fail returns METALLM_OK or one of these. Outputs are written on success only.
 */
enum metallm_status {
    METALLM_OK = 0,
    METALLM_EINVAL = -1,    /* an argument or option is out of its stated range */
    METALLM_ENOMEM = -2,    /* no memory */
    METALLM_EIO = -3,       /* the system refused: open, read, write, rename, fsync */
    METALLM_EFORMAT = -4,   /* bytes from outside are damaged, or of an unknown kind or version */
    METALLM_ENOTFOUND = -5, /* no such model, estimator, policy, file or row */
    METALLM_EMISMATCH = -6, /* two parts do not fit: encoder, precision, dimension, models */
    METALLM_ELIMIT = -7,    /* a stated limit would be passed */
    METALLM_ENUMERIC = -8,  /* a factorisation or iteration failed */
    METALLM_ECANCELED = -9, /* a progress callback asked to stop, or the service shut down */
    METALLM_EBUSY = -10,    /* a queue is full: try again later */
    METALLM_ETIMEOUT = -11, /* a deadline has passed */
};

#define METALLM_ERROR_BYTES 240u

/* The sentence for people. The caller owns it and may pass NULL. message is empty until a call
 * fails. */
typedef struct metallm_error {
    int code; /* the enum metallm_status that the failed call returned */
    char message[METALLM_ERROR_BYTES];
} metallm_error;

/* xoshiro256** (Blackman and Vigna, 2018). Equal seeds give equal streams on every machine. */
typedef struct metallm_rng {
    uint64_t state[4];
} metallm_rng;

METALLM_API void metallm_rng_seed(metallm_rng *rng, uint64_t seed);

/* Called now and then by long calls, on the calling thread. A result other than 0 stops the call
 * with METALLM_ECANCELED. total is 0 where it is not known beforehand. */
typedef struct metallm_progress {
    int (*step)(void *payload, const char *what, uint64_t done, uint64_t total); /* may be NULL */
    void *payload;
} metallm_progress;

METALLM_API const char *metallm_version(void);           /* static */
METALLM_API const char *metallm_status_name(int status); /* "out of range", ...; static */

#ifdef __cplusplus
}
#endif
#endif
