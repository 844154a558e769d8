/* SPDX-License-Identifier: Apache-2.0
 * banned.h - force-included into every file: a banned function is a compile error.
 * The headers that declare them, or use the names themselves (xmmintrin, yyjson), come first: only
 * our own use is refused. */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xmmintrin.h>
#include <yyjson.h>
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok atoi atol atof gets
#pragma GCC poison gmtime localtime ctime asctime
#ifndef METALLM_BASE_ALLOCATES
#pragma GCC poison malloc calloc realloc strdup strndup
#endif
#endif
