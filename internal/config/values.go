package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/secret"
)

type prefixList = []netip.Prefix

// What follows makes the set function of a setting from the place of its value. Values come as strings from flags and
// the environment, and as whatever YAML makes of them from the file.

func scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v), nil
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v), nil
	case time.Time:
		return v.Format(time.RFC3339), nil
	}
	return "", errors.New("is no single value")
}

// values takes a list, or a string of them with commas between.
func values(v any) ([]any, error) {
	switch v := v.(type) {
	case []any:
		return v, nil
	case string:
		var list []any
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return list, nil
	}
	return nil, errors.New("is no list (write [a, b])")
}

func text(at func(*Config) *string) func(*Config, any) error {
	return func(c *Config, v any) error {
		s, err := scalar(v)
		*at(c) = s
		return err
	}
}

// directory takes a path and makes it absolute, so that it means the same wherever it is compared.
func directory(at func(*Config) *string) func(*Config, any) error {
	return func(c *Config, v any) error {
		s, err := scalar(v)
		if err != nil || s == "" {
			*at(c) = ""
			return err
		}
		*at(c), err = filepath.Abs(s)
		return err
	}
}

func needed(at func(*Config) *string) func(*Config, any) error {
	return func(c *Config, v any) error {
		s, err := scalar(v)
		if err == nil && s == "" {
			err = errors.New("must not be empty")
		}
		*at(c) = s
		return err
	}
}

func choice(at func(*Config) *string, choices ...string) func(*Config, any) error {
	return func(c *Config, v any) error {
		s, err := scalar(v)
		if err != nil {
			return err
		}
		for _, choice := range choices {
			if s == choice {
				*at(c) = s
				return nil
			}
		}
		return fmt.Errorf("%q is none of %s", s, strings.Join(choices, ", "))
	}
}

func address(at func(*Config) *string) func(*Config, any) error {
	return func(c *Config, v any) error {
		s, err := scalar(v)
		if err == nil {
			err = checkAddress(s, "")
		}
		*at(c) = s
		return err
	}
}

// checkAddress wants host:port; host may be empty where one listens.
func checkAddress(s, why string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		if n, e := strconv.Atoi(port); e != nil || n < 0 || n > 65535 {
			err = e
			if e == nil {
				err = errors.New("port out of range")
			}
		} else if why != "" && (host == "" || n == 0) {
			err = errors.New("incomplete")
		}
	}
	if err != nil {
		return fmt.Errorf("%q is not host:port", s)
	}
	return nil
}

func addresses(at func(*Config) *[]string) func(*Config, any) error {
	return list(at, func(s string) error {
		if strings.Contains(s, "://") {
			return fmt.Errorf("%q is a URL; write host:port, and nacos.tls.enabled for TLS", s)
		}
		return checkAddress(s, "to dial")
	})
}

func list(at func(*Config) *[]string, check func(string) error) func(*Config, any) error {
	return func(c *Config, v any) error {
		vs, err := values(v)
		if err != nil {
			return err
		}
		all := []string{}
		for _, v := range vs {
			s, err := scalar(v)
			if err == nil && s == "" {
				err = errors.New("has an empty entry")
			}
			if err == nil && check != nil {
				err = check(s)
			}
			if err != nil {
				return err
			}
			all = append(all, s)
		}
		*at(c) = all
		return nil
	}
}

func boolean(at func(*Config) *bool) func(*Config, any) error {
	return func(c *Config, v any) error {
		s, err := scalar(v)
		if err != nil {
			return err
		}
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		*at(c) = b
		return nil
	}
}

func number(at func(*Config) *int, low, high int) func(*Config, any) error {
	return func(c *Config, v any) error {
		s, err := scalar(v)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q is not a number from %d to %d", s, low, high)
		}
		*at(c) = n
		return nil
	}
}

func duration(at func(*Config) *time.Duration, low time.Duration) func(*Config, any) error {
	return func(c *Config, v any) error {
		s, err := scalar(v)
		if err != nil {
			return err
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("%q is no duration (e.g. 500ms, 30s, 5m)", s)
		}
		if d < low {
			return fmt.Errorf("%s is less than %s", s, low)
		}
		*at(c) = d
		return nil
	}
}

// units of sizes; 1KB is taken for 1KiB by some and for 1000 bytes by others, so it is not taken at all.
var units = []struct {
	name  string
	bytes float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}, {"", 1}}

func size(at func(*Config) *int64) func(*Config, any) error {
	return func(c *Config, v any) error {
		s, err := scalar(v)
		if err != nil {
			return err
		}
		for _, u := range units {
			digits, ok := strings.CutSuffix(s, u.name)
			if !ok {
				continue
			}
			n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
			if n *= u.bytes; err != nil || !(n >= 1 && n <= 1<<40) || n != math.Trunc(n) {
				break
			}
			*at(c) = int64(n)
			return nil
		}
		return fmt.Errorf("%q is no size (e.g. 4MiB, 512KiB, 1048576)", s)
	}
}

// auto has a value that is derived at start unless one is set.
func auto(derive func(*Config), set func(*Config, any) error) func(*Config, any) error {
	return func(c *Config, v any) error {
		if v == "auto" {
			derive(c)
			return nil
		}
		return set(c, v)
	}
}

func prefixes(at func(*Config) *prefixList) func(*Config, any) error {
	return func(c *Config, v any) error {
		vs, err := values(v)
		if err != nil {
			return err
		}
		all := prefixList{}
		for _, v := range vs {
			s, err := scalar(v)
			if err != nil {
				return err
			}
			p, err := netip.ParsePrefix(s)
			if err != nil {
				a, e := netip.ParseAddr(s)
				if e != nil || a.Zone() != "" {
					return fmt.Errorf("%q is no network (e.g. 10.0.0.0/8, fd00::/8, 192.0.2.7)", s)
				}
				p = netip.PrefixFrom(a, a.BitLen())
			}
			if p != p.Masked() {
				return fmt.Errorf("%q has bits behind its mask; did you mean %s?", s, p.Masked())
			}
			all = append(all, p)
		}
		*at(c) = all
		return nil
	}
}

// hidden and hiddenList never quote what they are given.

func hidden(at func(*Config) *Secret) func(*Config, any) error {
	return func(c *Config, v any) error {
		s, err := scalar(v)
		*at(c) = secret.New(s)
		return err
	}
}

// minSecret is the length below which a session secret could be guessed.
const minSecret = 32

func hiddenList(at func(*Config) *[]Secret) func(*Config, any) error {
	return func(c *Config, v any) error {
		vs, err := values(v)
		if err != nil {
			return err
		}
		all := []Secret{}
		for i, v := range vs {
			s, err := scalar(v)
			if err != nil {
				return err
			}
			if len(s) < minSecret {
				return fmt.Errorf("secret %d is shorter than %d characters (make one: openssl rand -hex 32)", i+1, minSecret)
			}
			all = append(all, secret.New(s))
		}
		*at(c) = all
		return nil
	}
}

func level(c *Config, v any) error {
	s, err := scalar(v)
	if err != nil {
		return err
	}
	switch s {
	case "debug":
		c.Log.Level = slog.LevelDebug
	case "info":
		c.Log.Level = slog.LevelInfo
	case "warn":
		c.Log.Level = slog.LevelWarn
	case "error":
		c.Log.Level = slog.LevelError
	default:
		return fmt.Errorf("%q is none of debug, info, warn, error", s)
	}
	return nil
}
