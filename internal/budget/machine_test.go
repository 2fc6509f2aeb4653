package budget

import (
	"os"
	"testing"
)

func TestGroupLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"none", nil, 0},
		{"version 2, a parent is stricter", map[string]string{
			"/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/memory.max": "268435456\n",
		}, 256 << 20},
		{"version 2, in a container", map[string]string{"/proc/self/cgroup": "0::/../../x\n", "/sys/fs/cgroup/memory.max": "419430400\n"}, 400 << 20},
		{"version 1", map[string]string{
			"/proc/self/cgroup":                             "5:cpu,cpuacct:/x\n4:memory:/x\n",
			"/sys/fs/cgroup/memory/x/memory.limit_in_bytes": "1073741824\n",
			"/sys/fs/cgroup/memory/memory.limit_in_bytes":   "9223372036854771712\n",
		}, 1 << 30},
	} {
		got := groupLimit(func(name string) ([]byte, error) {
			if b, ok := c.files[name]; ok {
				return []byte(b), nil
			}
			return nil, os.ErrNotExist
		})
		if got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}
