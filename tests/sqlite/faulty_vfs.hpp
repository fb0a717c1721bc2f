// SQLite's own file system with faults on demand: writes and syncs that fail, as a full or dying
// disk makes them. A failed sync has written its data, as with a real disk: nobody knows what of it
// will be there. Becomes the default of the test program.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>

#include <sqlite3.h>

namespace weir::testing {

class FaultyVfs {
public:
    static FaultyVfs& instance() {
        static FaultyVfs vfs;
        return vfs;
    }

    // How many of the next calls fail; below 0: all.
    std::atomic<int> fail_syncs = 0;
    std::atomic<int> fail_writes = 0;
    std::atomic<int> write_code = SQLITE_IOERR_WRITE;
    std::atomic<int> syncs = 0;                           // that worked
    std::atomic<std::chrono::milliseconds> sync_takes{};  // at least

    void heal() {
        fail_syncs = 0;
        fail_writes = 0;
        write_code = SQLITE_IOERR_WRITE;
        sync_takes = std::chrono::milliseconds(0);
    }

private:
    struct File {
        sqlite3_file base;
        sqlite3_file* real;
    };

    static sqlite3_file* real(sqlite3_file* file) { return reinterpret_cast<File*>(file)->real; }
    static bool take(std::atomic<int>& count) {
        int now = count.load();
        while (now > 0 && !count.compare_exchange_weak(now, now - 1)) {
        }
        return now != 0;
    }

    FaultyVfs() {
        below_ = sqlite3_vfs_find(nullptr);
        vfs_ = *below_;
        vfs_.zName = "faulty";
        vfs_.pNext = nullptr;
        vfs_.szOsFile = static_cast<int>(sizeof(File)) + below_->szOsFile;
        vfs_.xOpen = &open;
        methods_.iVersion = 2;
        methods_.xClose = [](sqlite3_file* file) {
            return real(file)->pMethods->xClose(real(file));
        };
        methods_.xRead = [](sqlite3_file* file, void* to, int size, sqlite3_int64 at) {
            return real(file)->pMethods->xRead(real(file), to, size, at);
        };
        methods_.xWrite = [](sqlite3_file* file, const void* from, int size, sqlite3_int64 at) {
            if (take(instance().fail_writes)) return instance().write_code.load();
            return real(file)->pMethods->xWrite(real(file), from, size, at);
        };
        methods_.xTruncate = [](sqlite3_file* file, sqlite3_int64 size) {
            return real(file)->pMethods->xTruncate(real(file), size);
        };
        methods_.xSync = [](sqlite3_file* file, int flags) {
            const std::chrono::milliseconds pause = instance().sync_takes;
            if (pause.count() > 0) std::this_thread::sleep_for(pause);
            if (take(instance().fail_syncs)) return SQLITE_IOERR_FSYNC;
            instance().syncs.fetch_add(1);
            return real(file)->pMethods->xSync(real(file), flags);
        };
        methods_.xFileSize = [](sqlite3_file* file, sqlite3_int64* size) {
            return real(file)->pMethods->xFileSize(real(file), size);
        };
        methods_.xLock = [](sqlite3_file* file, int level) {
            return real(file)->pMethods->xLock(real(file), level);
        };
        methods_.xUnlock = [](sqlite3_file* file, int level) {
            return real(file)->pMethods->xUnlock(real(file), level);
        };
        methods_.xCheckReservedLock = [](sqlite3_file* file, int* out) {
            return real(file)->pMethods->xCheckReservedLock(real(file), out);
        };
        methods_.xFileControl = [](sqlite3_file* file, int op, void* argument) {
            return real(file)->pMethods->xFileControl(real(file), op, argument);
        };
        methods_.xSectorSize = [](sqlite3_file* file) {
            return real(file)->pMethods->xSectorSize(real(file));
        };
        methods_.xDeviceCharacteristics = [](sqlite3_file* file) {
            return real(file)->pMethods->xDeviceCharacteristics(real(file));
        };
        methods_.xShmMap =
            [](sqlite3_file* file, int page, int size, int extend, void volatile** out) {
                return real(file)->pMethods->xShmMap(real(file), page, size, extend, out);
            };
        methods_.xShmLock = [](sqlite3_file* file, int offset, int n, int flags) {
            return real(file)->pMethods->xShmLock(real(file), offset, n, flags);
        };
        methods_.xShmBarrier = [](sqlite3_file* file) {
            real(file)->pMethods->xShmBarrier(real(file));
        };
        methods_.xShmUnmap = [](sqlite3_file* file, int remove) {
            return real(file)->pMethods->xShmUnmap(real(file), remove);
        };
        sqlite3_vfs_register(&vfs_, 1);
    }

    static int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
        auto* const mine = reinterpret_cast<File*>(file);
        mine->real = reinterpret_cast<sqlite3_file*>(mine + 1);
        mine->real->pMethods = nullptr;
        FaultyVfs& self = instance();
        const int code = self.below_->xOpen(self.below_, name, mine->real, flags, out_flags);
        mine->base.pMethods = mine->real->pMethods == nullptr ? nullptr : &self.methods_;
        return code;
    }

    sqlite3_vfs* below_ = nullptr;
    sqlite3_vfs vfs_{};
    sqlite3_io_methods methods_{};
};

}  // namespace weir::testing
