/* SPDX-License-Identifier: MIT */
/*
 * The server's command line.  Each knob has one row in `longopts`, one in `apply` and one
 * in the help; a bad value is refused with a line that names its flag.
 */
#include "options.h"

#include "flags.h"
#include "record.h"

#include <gcrt/gcrt.h>

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RECORDS_MAX 2000000000u

static const char help[] =
        "usage: lookup-server [flags]\n"
        "  --live-mb=N       live data in MiB, at least; decides --records    (256)\n"
        "  --records=N       number of records, keys 0 to N-1\n"
        "  --payload=N       payload bytes in a record                       (512)\n"
        "  --seed=N          data set: same seed, same records                 (1)\n"
        "  --port=N          port on 127.0.0.1; 0: any free one             (8080)\n"
        "  --loops=N         event loops; 0: one per CPU                       (0)\n"
        "  --replace-rate=N  records replaced a second; 0: none           (100000)\n"
        "  --connections=N   most connections at a time                     (4096)\n"
        "  --patience=S      seconds for a begun request or a waiting answer  (10)\n"
        "  --duration=S      seconds to run; 0: until SIGTERM or SIGINT        (0)\n"
        "  --gogc=N|off      heap growth in percent; else GCRT_GOGC or GOGC  (100)\n"
        "  --port-file=PATH  write the port there when requests are accepted\n"
        "  --stats=PATH      write `name value` lines there at the end\n";

static const struct option longopts[] = {
        {"live-mb", required_argument, NULL, 'm'},
        {"records", required_argument, NULL, 'r'},
        {"payload", required_argument, NULL, 'p'},
        {"seed", required_argument, NULL, 's'},
        {"port", required_argument, NULL, 'P'},
        {"loops", required_argument, NULL, 'l'},
        {"replace-rate", required_argument, NULL, 'w'},
        {"connections", required_argument, NULL, 'c'},
        {"patience", required_argument, NULL, 't'},
        {"duration", required_argument, NULL, 'd'},
        {"gogc", required_argument, NULL, 'g'},
        {"port-file", required_argument, NULL, 'F'},
        {"stats", required_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
};

static int
apply_gogc(struct options *o, const char *text)
{
    uint64_t percent = 0;

    o->has_gogc = 1;
    o->gogc = GC_GOGC_OFF;
    if (strcmp(text, "off") == 0)
        return 1;
    if (!flag_u64("gogc", text, 0, 1000000, &percent)) {
        fprintf(stderr, "--gogc: 'off' is allowed, too\n");
        return 0;
    }
    o->gogc = (int64_t)percent;
    return 1;
}

static int
apply(struct options *o, int flag, const char *text)
{
    switch (flag) {
    case 'm':
        return flag_u64("live-mb", text, 1, 1u << 20, &o->live_mb);
    case 'r':
        return flag_u64("records", text, 1, RECORDS_MAX, &o->records);
    case 'p':
        return flag_u64("payload", text, 0, 1u << 20, &o->payload);
    case 's':
        return flag_u64("seed", text, 0, UINT64_MAX, &o->seed);
    case 'P':
        return flag_u64("port", text, 0, 65535, &o->port);
    case 'l':
        return flag_u64("loops", text, 0, 1024, &o->loops);
    case 'w':
        return flag_u64("replace-rate", text, 0, 100000000, &o->replace_rate);
    case 'c':
        return flag_u64("connections", text, 1, 1000000, &o->conns);
    case 't':
        return flag_double("patience", text, 0.1, 86400, &o->patience);
    case 'd':
        return flag_double("duration", text, 0, 1e9, &o->duration);
    case 'g':
        return apply_gogc(o, text);
    case 'F':
        o->port_file = text;
        return 1;
    case 'S':
        o->stats_file = text;
        return 1;
    default:
        return 0; /* getopt_long has named the flag */
    }
}

static void
options_default(struct options *o)
{
    memset(o, 0, sizeof(*o));
    o->live_mb = 256;
    o->payload = 512;
    o->seed = 1;
    o->port = 8080;
    o->replace_rate = 100000;
    o->conns = 4096;
    o->patience = 10;
}

/* Fills in the knobs that depend on others or on the machine. */
static void
options_complete(struct options *o)
{
    if (o->records == 0)
        o->records = (o->live_mb << 20) / record_bytes_min((uint32_t)o->payload) + 1;
    if (o->loops == 0) {
        long n = sysconf(_SC_NPROCESSORS_ONLN);

        o->loops = n < 1 ? 1 : (uint64_t)n;
    }
}

int
options_parse(struct options *ret, int argc, char **argv)
{
    struct options o;
    int flag;

    options_default(&o);
    while ((flag = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
        if (flag == 'h') {
            fputs(help, stdout);
            return -1;
        }
        if (!apply(&o, flag, optarg))
            return 0;
    }
    if (optind < argc) {
        fprintf(stderr, "%s: '%s' is no flag; see --help\n", argv[0], argv[optind]);
        return 0;
    }
    options_complete(&o);
    *ret = o;
    return 1;
}
