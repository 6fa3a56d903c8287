/* SPDX-License-Identifier: MIT */
/*
 * Control groups.
 *
 * Purpose: find the memory limit and the CPU quota that a container gives the process.
 * Place: os; runtime.c asks when a heap is made with that option.
 *
 * /proc/self/cgroup says where in the hierarchy the process is, /proc/self/mountinfo where the
 * hierarchy is mounted, and which part of it: in a container the mount's root is often the
 * container's own group, and the path is to be read from there.  From the process's group up to
 * the mount's root each directory may have limits; the lowest counts.
 *
 *     version 2   memory.max, memory.high: bytes or "max"; cpu.max: "quota period" or "max ..."
 *     version 1   memory.limit_in_bytes, where "none" is a huge number; cpu.cfs_quota_us (-1:
 *                 none) and cpu.cfs_period_us; controllers are mounted separately
 *
 * Invariants: a file that is missing, too long or odd changes nothing.
 * Concurrency: none.  Cost: some dozen system calls, once per heap.
 */
#define _GNU_SOURCE
#include "alloc/os/cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 4096
#define PATH_BYTES 4096
/* Version 1 shows "no limit" as the largest number of whole pages. */
#define NONE_FROM  ((uint64_t)1 << 62)

/* One hierarchy: where it is mounted, and the process's group in it. */
struct hierarchy {
    const char *controller; /* NULL: version 2 */
    char group[PATH_BYTES]; /* from /proc/self/cgroup; "" if it is not there */
    char mount[PATH_BYTES]; /* where; "" if it is not mounted */
    char top[PATH_BYTES];   /* the group that the mount shows as its root */
};

/* ---- text files ---- */

static FILE *
open_below(const char *root, const char *path)
{
    char name[PATH_BYTES];
    int n = snprintf(name, sizeof(name), "%s%s", root, path);

    return n < 0 || (size_t)n >= sizeof(name) ? NULL : fopen(name, "re");
}

/* The next whole line without its newline; too long ones are left out.  False at the end. */
static bool
next_line(FILE *f, char line[LINE_BYTES])
{
    while (fgets(line, LINE_BYTES, f) != NULL) {
        size_t len = strlen(line);

        if (len > 0 && line[len - 1] == '\n') {
            line[len - 1] = '\0';
            return true;
        }
        if (feof(f))
            return true;
        do
            if (fgets(line, LINE_BYTES, f) == NULL)
                return false;
        while (line[strlen(line) - 1] != '\n');
    }
    return false;
}

static bool
copy(char to[PATH_BYTES], const char *from)
{
    size_t len = strlen(from);

    if (len >= PATH_BYTES)
        return false;
    memcpy(to, from, len + 1);
    return true;
}

/* Is the word one of those in a list with commas? */
static bool
is_listed(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (;; list++) {
        if (strncmp(list, word, len) == 0 && (list[len] == ',' || list[len] == '\0'))
            return true;
        list = strchr(list, ',');
        if (list == NULL)
            return false;
    }
}

/* \040 and the like, as mountinfo writes blanks, in place. */
static void
unescape(char *s)
{
    char *to = s;

    while (*s != '\0') {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7'
                && s[3] >= '0' && s[3] <= '7') {
            *to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 4;
        } else {
            *to++ = *s++;
        }
    }
    *to = '\0';
}

/* ---- where the group is ---- */

/* "number:controllers:path"; version 2 has number 0 and no controllers. */
static void
find_group(const char *root, struct hierarchy *h)
{
    FILE *f = open_below(root, "/proc/self/cgroup");
    char line[LINE_BYTES];

    if (f == NULL)
        return;
    while (next_line(f, line)) {
        char *list = strchr(line, ':'), *path = list == NULL ? NULL : strchr(list + 1, ':');

        if (path == NULL)
            continue;
        *list++ = '\0';
        *path++ = '\0';
        if (h->controller == NULL ? strcmp(line, "0") == 0 && *list == '\0'
                                  : is_listed(list, h->controller))
            if (!copy(h->group, path))
                h->group[0] = '\0';
    }
    fclose(f);
}

/* "id parent device root mountpoint options ... - type source superoptions" */
static void
take_mount(struct hierarchy *h, char *line)
{
    char *fields[6], *rest = strstr(line, " - "), *type, *options;
    size_t n = 0;

    if (rest == NULL)
        return;
    *rest = '\0';
    for (char *s = strtok_r(line, " ", &options); s != NULL && n < 6;
            s = strtok_r(NULL, " ", &options))
        fields[n++] = s;
    type = strtok_r(rest + 3, " ", &options);
    (void)strtok_r(NULL, " ", &options);
    options = strtok_r(NULL, " ", &options);
    if (n < 5 || type == NULL
            || strcmp(type, h->controller == NULL ? "cgroup2" : "cgroup") != 0
            || (h->controller != NULL
                    && (options == NULL || !is_listed(options, h->controller))))
        return;
    unescape(fields[3]);
    unescape(fields[4]);
    if (!copy(h->top, fields[3]) || !copy(h->mount, fields[4]))
        h->mount[0] = '\0';
}

static void
find_mount(const char *root, struct hierarchy *h)
{
    FILE *f = open_below(root, "/proc/self/mountinfo");
    char line[LINE_BYTES];

    if (f == NULL)
        return;
    while (h->mount[0] == '\0' && next_line(f, line))
        take_mount(h, line);
    fclose(f);
}

/*
 * The group's path below the mount, "" for the mount itself.  A group that is not below what the
 * mount shows (a path of another namespace) is taken for the mount's root.
 */
static const char *
path_below_mount(const struct hierarchy *h)
{
    size_t len = strcmp(h->top, "/") == 0 ? 0 : strlen(h->top);
    const char *path = h->group + len;

    if (strncmp(h->group, h->top, len) != 0 || *path != '/' || path[1] == '\0'
            || strstr(path, "/..") != NULL)
        return "";
    return path;
}

/* ---- limits ---- */

/* The first line's numbers: how many there are, "max" being UINT64_MAX. */
static int
read_numbers(const char *root, const char *dir, const char *file, uint64_t ret[2])
{
    char path[2 * PATH_BYTES], line[LINE_BYTES], *at = line, *end;
    FILE *f;
    int n = 0;

    snprintf(path, sizeof(path), "%s/%s", dir, file);
    f = open_below(root, path);
    if (f == NULL)
        return 0;
    if (!next_line(f, line))
        line[0] = '\0';
    fclose(f);
    for (; n < 2; n++) {
        at += strspn(at, " ");
        if (strncmp(at, "max", 3) == 0) {
            ret[n] = UINT64_MAX;
            at += 3;
        } else if (*at >= '0' && *at <= '9') {
            errno = 0;
            ret[n] = strtoull(at, &end, 10);
            if (errno != 0)
                return n;
            at = end;
        } else {
            break;
        }
        if (*at != ' ' && *at != '\0')
            return n;
    }
    return n;
}

static void
lower_memory(struct os_cgroup *ret, const char *root, const char *dir, const char *file)
{
    uint64_t n[2];

    if (read_numbers(root, dir, file, n) >= 1 && n[0] < NONE_FROM)
        ret->memory = min_size(ret->memory, n[0]);
}

static void
lower_cpus(struct os_cgroup *ret, uint64_t quota, uint64_t period)
{
    uint64_t cpus;

    if (quota >= NONE_FROM || period == 0)
        return;
    cpus = quota / period + (quota % period != 0);
    cpus = cpus == 0 ? 1 : min_size(cpus, UINT32_MAX / 2);
    if (ret->cpus == 0 || cpus < ret->cpus)
        ret->cpus = (unsigned)cpus;
}

static void
read_v2(struct os_cgroup *ret, const char *root, const char *dir)
{
    uint64_t n[2];

    lower_memory(ret, root, dir, "memory.max");
    lower_memory(ret, root, dir, "memory.high");
    if (read_numbers(root, dir, "cpu.max", n) == 2)
        lower_cpus(ret, n[0], n[1]);
}

static void
read_v1_memory(struct os_cgroup *ret, const char *root, const char *dir)
{
    lower_memory(ret, root, dir, "memory.limit_in_bytes");
}

static void
read_v1_cpu(struct os_cgroup *ret, const char *root, const char *dir)
{
    uint64_t quota[2], period[2];

    if (read_numbers(root, dir, "cpu.cfs_quota_us", quota) >= 1
            && read_numbers(root, dir, "cpu.cfs_period_us", period) >= 1)
        lower_cpus(ret, quota[0], period[0]);
}

/* All directories from the group's up to the mount's root. */
static void
read_hierarchy(const char *root, const char *controller, struct os_cgroup *ret,
        void (*read)(struct os_cgroup *, const char *, const char *))
{
    struct hierarchy h = { .controller = controller };
    char dir[2 * PATH_BYTES];
    size_t top;

    find_group(root, &h);
    find_mount(root, &h);
    if (h.group[0] == '\0' || h.mount[0] == '\0')
        return;
    top = strlen(h.mount);
    snprintf(dir, sizeof(dir), "%s%s", h.mount, path_below_mount(&h));
    for (;;) {
        read(ret, root, dir);
        if (strlen(dir) <= top)
            return;
        *strrchr(dir, '/') = '\0';
    }
}

void
gcrt_cgroup_read(const char *root, struct os_cgroup *ret)
{
    *ret = (struct os_cgroup){ .memory = UINT64_MAX };
    read_hierarchy(root, NULL, ret, read_v2);
    read_hierarchy(root, "memory", ret, read_v1_memory);
    read_hierarchy(root, "cpu", ret, read_v1_cpu);
}
