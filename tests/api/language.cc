/* SPDX-License-Identifier: MIT */
#include "language.h"

int
main()
{
    return language_test();
}
