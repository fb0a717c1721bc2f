// As rooms.hpp, for the programs of tests.
#pragma once

#include <filesystem>
#include <fstream>
#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rooms.hpp"
