package budget

import (
	"bytes"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// Bounds of a budget that is derived: a quarter of the memory that the process may have.
const (
	leastMemory = 16 << 20
	mostMemory  = 1 << 30
	// usualMemory is the most where nothing but the machine bounds the process: others live there, too.
	usualMemory = 64 << 20
)

// DefaultMemory returns the bytes of a budget that nobody set: a quarter of GOMEMLIMIT or of the control group's limit,
// whichever is less, between 16 MiB and 1 GiB; where neither is set a quarter of the machine's, 64 MiB at most.
func DefaultMemory() int64 { return derive(softLimit(), GroupLimit(), machineMemory()) }

func derive(soft, group, machine int64) int64 {
	limit, most := soft, int64(mostMemory)
	if limit == 0 || group > 0 && group < limit {
		limit = group
	}
	if limit == 0 {
		limit, most = machine, usualMemory
	}
	if limit == 0 {
		return usualMemory
	}
	return min(max(limit/4, leastMemory), most)
}

// softLimit is GOMEMLIMIT; 0 where it is not set.
func softLimit() int64 {
	if n := debug.SetMemoryLimit(-1); n != math.MaxInt64 {
		return n
	}
	return 0
}

// GroupLimit returns the memory limit of the process's control group in bytes, the least of it and its parents; 0 where
// there is none.
func GroupLimit() int64 { return groupLimit(os.ReadFile) }

func groupLimit(read func(string) ([]byte, error)) int64 {
	least := int64(0)
	look := func(file string) {
		b, err := read(file)
		if err != nil {
			return
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
		if err == nil && n > 0 && n < 1<<50 && (least == 0 || n < least) { // version 1 writes "none" as a huge number
			least = n
		}
	}
	own, _ := read("/proc/self/cgroup")
	for line := range strings.Lines(string(own)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		root, file := "/sys/fs/cgroup", "memory.max"
		if fields[1] != "" {
			if !strings.Contains(","+fields[1]+",", ",memory,") {
				continue
			}
			root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		for dir := path.Clean("/" + fields[2]); ; dir = path.Dir(dir) {
			look(path.Join(root, dir, file)) // in a container the path is the host's: then only the root is there
			if dir == "/" {
				break
			}
		}
	}
	return least
}

func machineMemory() int64 {
	b, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}
