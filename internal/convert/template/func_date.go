package template

import (
	"errors"
	"strconv"
	"sync"
	"time"

	_ "time/tzdata" // zones must not depend on files of the host
)

func (e *exec) now() time.Time {
	if e.env.Now != nil {
		return e.env.Now()
	}
	return time.Now()
}

func timeValue(t time.Time) Value { return Value{kind: KindOther, p: t} }

// instant reads what sprig's functions take for a time: a time, seconds since 1970, and RFC 3339 text, where sprig
// would take the current time. Nothing means now.
func (e *exec) instant(v Value) (time.Time, error) {
	switch v.kind {
	case KindMissing, KindNull:
		return e.now(), nil
	case KindOther:
		if t, ok := v.p.(time.Time); ok {
			return t, nil
		}
	case KindNumber:
		n, err := integer(v)
		return time.Unix(n, 0), err
	case KindString:
		s := v.Text()
		switch {
		case s == "":
			return e.now(), nil
		case len(s) > maxTime:
			return time.Time{}, errNoTime
		}
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return time.Unix(n, 0), nil
		}
		for _, layout := range []string{time.RFC3339Nano, time.DateTime, time.DateOnly} {
			if t, err := time.Parse(layout, s); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, errNoTime
}

var errNoTime = errors.New("not a time: give a number of seconds, RFC 3339 text or the result of now or toDate")

// maxTime bounds the text of a time in bytes; the parser keeps copies of what it cannot read.
const maxTime = 64

// zones are the time zones in use; only names that exist get in, so it is bounded.
var zones sync.Map

// zoneSteps is what looking for a zone for the first time costs: it goes through files.
const zoneSteps = 2000

// zone is the named time zone, and UTC for what is none, as in sprig.
func (e *exec) zone(name string) (*time.Location, error) {
	if loc, ok := zones.Load(name); ok {
		return loc.(*time.Location), nil
	}
	if len(name) > 64 {
		return time.UTC, nil
	}
	if err := e.charge(zoneSteps); err != nil {
		return nil, err
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC, nil
	}
	zones.Store(name, loc)
	return loc, nil
}

// format formats with a layout, which may not grow much.
func (e *exec) format(t time.Time, layout string) (Value, error) {
	if y := t.Year(); y > 9999 || y < -9999 {
		return Value{}, errors.New("a time out of range")
	}
	if err := e.grow(16 * len(layout)); err != nil {
		return Value{}, err
	}
	return String(t.Format(layout)), nil
}

// dateFunc formats a time; at tells which arguments are layout, time and zone (-1: the one by default).
func dateFunc(layout, at, in int) body {
	return func(e *exec, a []Value) (Value, error) {
		form, loc := time.DateOnly, time.Local
		if layout >= 0 {
			var err error
			if form, err = e.text(a[layout]); err != nil {
				return Value{}, err
			}
		}
		if in >= 0 {
			name, err := e.text(a[in])
			if err != nil {
				return Value{}, err
			}
			if loc, err = e.zone(name); err != nil {
				return Value{}, err
			}
		}
		t, err := e.instant(a[at])
		if err != nil {
			return Value{}, err
		}
		return e.format(t.In(loc), form)
	}
}

func defineDates(define definer) {
	define("now", 0, 0, made, func(e *exec, _ []Value) (Value, error) { return timeValue(e.now()), nil })
	define("date", 2, 2, made, dateFunc(0, 1, -1))
	define("dateInZone date_in_zone", 3, 3, made, dateFunc(0, 1, 2))
	define("htmlDate", 1, 1, made, dateFunc(-1, 0, -1))
	define("htmlDateInZone", 2, 2, made, dateFunc(-1, 0, 1))
	define("unixEpoch", 1, 1, made, func(e *exec, a []Value) (Value, error) {
		t, err := e.instant(a[0])
		return String(strconv.FormatInt(t.Unix(), 10)), err
	})
	define("ago", 1, 1, made, func(e *exec, a []Value) (Value, error) {
		t, err := e.instant(a[0])
		return String(e.now().Sub(t).Round(time.Second).String()), err
	})
	modify := func(e *exec, a []Value, must bool) (Value, error) {
		t, err := e.instant(a[1])
		if err != nil {
			return Value{}, err
		}
		by, err := e.text(a[0])
		if err != nil {
			return Value{}, err
		}
		d, err := time.ParseDuration(by)
		if err != nil && must {
			return Value{}, errors.New("not a duration")
		}
		return timeValue(t.Add(d)), nil
	}
	define("dateModify date_modify", 2, 2, made, func(e *exec, a []Value) (Value, error) { return modify(e, a, false) })
	define("mustDateModify must_date_modify", 2, 2, made, func(e *exec, a []Value) (Value, error) { return modify(e, a, true) })
	parse := func(e *exec, a []Value, must bool) (Value, error) {
		s, err := e.texts(a)
		if err != nil {
			return Value{}, err
		}
		if err := e.charge((len(s[0]) + len(s[1])) / 8); err != nil {
			return Value{}, err
		}
		t, err := time.ParseInLocation(s[0], s[1], time.Local)
		if err != nil && must {
			return Value{}, errors.New("the text is no time in this layout")
		}
		return timeValue(t), nil
	}
	define("toDate", 2, 2, made, func(e *exec, a []Value) (Value, error) { return parse(e, a, false) })
	define("mustToDate", 2, 2, made, func(e *exec, a []Value) (Value, error) { return parse(e, a, true) })

	// Methods of a time, as in {{now.Format "2006"}}.
	define("time.Format", 2, 2, made, func(e *exec, a []Value) (Value, error) {
		t, err := e.instant(a[0])
		if err != nil {
			return Value{}, err
		}
		layout, err := e.text(a[1])
		if err != nil {
			return Value{}, err
		}
		return e.format(t, layout)
	})
	define("time.AddDate", 4, 4, made, func(e *exec, a []Value) (Value, error) {
		t, err := e.instant(a[0])
		if err != nil {
			return Value{}, err
		}
		var n [3]int
		for i := range n {
			if n[i], err = small(a[i+1]); err != nil {
				return Value{}, err
			}
		}
		return timeValue(t.AddDate(n[0], n[1], n[2])), nil
	})
}

// timeField is a method of a time that takes no argument; missing for all else.
func timeField(v Value, name string) Value {
	t, ok := v.p.(time.Time)
	if !ok {
		return Value{}
	}
	var out Value
	switch name {
	case "Unix":
		out = intValue(t.Unix())
	case "UnixMilli":
		out = intValue(t.UnixMilli())
	case "UnixNano":
		out = intValue(t.UnixNano())
	case "Year":
		out = intValue(int64(t.Year()))
	case "Month":
		out = String(t.Month().String())
	case "Day":
		out = intValue(int64(t.Day()))
	case "YearDay":
		out = intValue(int64(t.YearDay()))
	case "Hour":
		out = intValue(int64(t.Hour()))
	case "Minute":
		out = intValue(int64(t.Minute()))
	case "Second":
		out = intValue(int64(t.Second()))
	case "Weekday":
		out = String(t.Weekday().String())
	case "UTC":
		out = timeValue(t.UTC())
	case "Local":
		out = timeValue(t.Local())
	}
	out.flags |= v.flags & carried
	return out
}
