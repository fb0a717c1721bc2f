# What is shipped is laid out by what it does most: cmake/weir.profdata tells which branches were taken
# while the benchmark ran. A function that has changed since is compiled as any other one; tests/bench/profile
# makes the file anew.
set(WEIR_PROFILE "" CACHE STRING "'use' cmake/weir.profdata, or 'generate' a binary that writes profiles")
if(WEIR_PROFILE AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # Without their folder, so that functions of one file are the same ones in any clone.
    add_compile_options("SHELL:-mllvm -static-func-full-module-prefix=false")
    if(WEIR_PROFILE STREQUAL "generate")
        add_compile_options(-fprofile-generate -fprofile-update=atomic)
        add_link_options(-fprofile-generate)
    elseif(WEIR_PROFILE STREQUAL "use")
        # That some functions have changed since is no reason to stop.
        add_compile_options("-fprofile-use=${PROJECT_SOURCE_DIR}/cmake/weir.profdata"
            -Wno-profile-instr-out-of-date -Wno-profile-instr-unprofiled -Wno-backend-plugin)
    else()
        message(FATAL_ERROR "WEIR_PROFILE is '${WEIR_PROFILE}'; it can be 'use', 'generate' or empty")
    endif()
endif()
