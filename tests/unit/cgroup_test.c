/* SPDX-License-Identifier: MIT */
/*
 * What a control group allows, read from trees of files made up below a temporary directory.
 */
#define _GNU_SOURCE
#include "alloc/os/cgroup.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

static char root[64];

static void
make_root(void)
{
    strcpy(root, "/tmp/gcrt-cgroup-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void
remove_root(void)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The file and all directories above it. */
static void
put(const char *path, const char *text)
{
    char name[8192];
    FILE *f;

    snprintf(name, sizeof(name), "%s%s", root, path);
    for (char *slash = strchr(name + strlen(root) + 1, '/'); slash != NULL;
            slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(name, 0700);
        *slash = '/';
    }
    f = fopen(name, "w");
    cr_assert_not_null(f, "%s", name);
    fputs(text, f);
    fclose(f);
}

static void
put_v2(const char *group, const char *mount_root)
{
    char text[512];

    snprintf(text, sizeof(text), "0::%s\n", group);
    put("/proc/self/cgroup", text);
    snprintf(text, sizeof(text),
            "21 1 0:20 / /proc rw,nosuid - proc proc rw\n"
            "30 22 0:26 %s /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
            mount_root);
    put("/proc/self/mountinfo", text);
}

static void
expect(uint64_t memory, unsigned cpus)
{
    struct os_cgroup group;

    gcrt_cgroup_read(root, &group);
    cr_expect_eq(group.memory, memory, "memory %llu", (unsigned long long)group.memory);
    cr_expect_eq(group.cpus, cpus, "cpus %u", group.cpus);
}

TestSuite(cgroup, .init = make_root, .fini = remove_root);

Test(cgroup, nothing_there_is_no_limit)
{
    expect(UINT64_MAX, 0);
    put("/proc/self/cgroup", "");
    put("/proc/self/mountinfo", "");
    expect(UINT64_MAX, 0);
    put_v2("/a", "/");
    expect(UINT64_MAX, 0);
}

Test(cgroup, version_2_has_max_high_and_a_quota)
{
    put_v2("/a", "/");
    put("/sys/fs/cgroup/a/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.high", "max\n");
    put("/sys/fs/cgroup/a/cpu.max", "max 100000\n");
    expect(UINT64_MAX, 0);
    put("/sys/fs/cgroup/a/memory.max", "536870912\n");
    expect(512 * MIB, 0);
    put("/sys/fs/cgroup/a/memory.high", "268435456\n");
    put("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    expect(256 * MIB, 2);
    put("/sys/fs/cgroup/a/cpu.max", "200000 100000\n");
    expect(256 * MIB, 2);
    put("/sys/fs/cgroup/a/cpu.max", "1000 100000\n");
    expect(256 * MIB, 1);
}

Test(cgroup, the_lowest_of_all_groups_above_counts)
{
    put_v2("/a/b/c", "/");
    put("/sys/fs/cgroup/a/b/c/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/b/memory.high", "104857600\n");
    put("/sys/fs/cgroup/a/memory.max", "209715200\n");
    put("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    put("/sys/fs/cgroup/memory.max", "115343360\n");
    expect(100 * MIB, 3);
    put("/sys/fs/cgroup/memory.max", "52428800\n");
    expect(50 * MIB, 3);
}

Test(cgroup, a_sibling_does_not_count)
{
    put_v2("/a", "/");
    put("/sys/fs/cgroup/b/memory.max", "1048576\n");
    put("/sys/fs/cgroup/a/memory.max", "2097152\n");
    expect(2 * MIB, 0);
}

Test(cgroup, in_a_container_the_mount_shows_its_own_group)
{
    put_v2("/docker/0123", "/docker/0123");
    put("/sys/fs/cgroup/memory.max", "33554432\n");
    put("/sys/fs/cgroup/docker/0123/memory.max", "1048576\n"); /* somebody else's name */
    expect(32 * MIB, 0);
    put_v2("/docker/0123/inner", "/docker/0123");
    put("/sys/fs/cgroup/inner/memory.max", "16777216\n");
    expect(16 * MIB, 0);
    put_v2("/docker/0123456", "/docker/0123"); /* begins with the same letters only */
    expect(32 * MIB, 0);
    put_v2("/../../elsewhere", "/");
    expect(32 * MIB, 0);
}

Test(cgroup, version_1_mounts_controllers_apart)
{
    put("/proc/self/cgroup",
            "12:cpuset:/\n11:cpu,cpuacct:/jobs/x\n9:memory:/jobs/x\n1:name=systemd:/y\n0::/y\n");
    put("/proc/self/mountinfo",
            "31 25 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
            "32 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:8 - cgroup cgroup rw,cpu,cpuacct\n"
            "33 25 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/jobs/x/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/cpu,cpuacct/jobs/x/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/jobs/x/cpu.cfs_period_us", "100000\n");
    expect(UINT64_MAX, 0);
    put("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "67108864\n");
    put("/sys/fs/cgroup/cpu,cpuacct/jobs/x/cpu.cfs_quota_us", "250000\n");
    expect(64 * MIB, 3);
}

Test(cgroup, blanks_in_the_mount_point_are_escaped)
{
    put("/proc/self/cgroup", "0::/a\n");
    put("/proc/self/mountinfo",
            "30 22 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n");
    put("/my groups/a/memory.max", "1048576\n");
    expect(MIB, 0);
}

Test(cgroup, odd_files_are_no_limits)
{
    static const char *const odd[] = { "", "\n", "-1\n", "x\n", "12x\n", "0x100000\n",
        "99999999999999999999999\n", "1e6\n" };
    char line[9000];

    put_v2("/a", "/");
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        put("/sys/fs/cgroup/a/memory.max", odd[i]);
        expect(UINT64_MAX, 0);
    }
    put("/sys/fs/cgroup/a/cpu.max", "100000 0\n");
    expect(UINT64_MAX, 0);
    put("/sys/fs/cgroup/a/cpu.max", "100000\n");
    expect(UINT64_MAX, 0);
    put("/sys/fs/cgroup/a/memory.max", "1048576"); /* without its newline */
    expect(MIB, 0);
    memset(line, 'x', sizeof(line));
    memcpy(line + sizeof(line) - 32, "\n0::/a\n", 8);
    put("/proc/self/cgroup", line); /* a line too long, and then ours */
    expect(MIB, 0);
    put("/proc/self/cgroup", "0:\n:::\n0::\n");
    expect(UINT64_MAX, 0);
}
