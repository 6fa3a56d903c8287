/* SPDX-License-Identifier: MIT */
#include "language.h"

int
main(void)
{
    return language_test();
}
