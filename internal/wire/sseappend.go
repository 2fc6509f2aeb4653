package wire

import "bytes"

// AppendEvent adds an event. Empty id and name are left out, and line ends and NUL in them are dropped: they would begin a
// line of their own. data becomes one data line per line of it; nil means none, so that the block carries only its id.
func AppendEvent(dst []byte, id, name string, data []byte) []byte {
	if id != "" {
		dst = appendField(append(dst, "id: "...), id)
	}
	if name != "" {
		dst = appendField(append(dst, "event: "...), name)
	}
	if data != nil {
		dst = appendData(dst, data, "\n")
	}
	return append(dst, '\n')
}

// AppendComment adds a comment, which clients ignore: a keep-alive. Line ends in it are dropped.
func AppendComment(dst []byte, text string) []byte {
	dst = appendField(append(dst, ": "...), text)
	return append(dst, '\n')
}

func appendField(dst []byte, value string) []byte {
	for i := range len(value) {
		if c := value[i]; c != '\n' && c != '\r' && c != 0 {
			dst = append(dst, c)
		}
	}
	return append(dst, '\n')
}

func appendData(dst, data []byte, end string) []byte {
	for {
		line, rest := cutLine(data)
		dst = append(dst, "data: "...)
		dst = append(dst, line...)
		dst = append(dst, end...)
		if len(line) == len(data) {
			return dst
		}
		data = rest
	}
}

// AppendEventData adds an event that came from a reader with other data: its other lines stay as they came.
func AppendEventData(dst []byte, ev Event, data []byte) []byte {
	written := false
	for block := ev.Raw; len(block) > 0; {
		line, rest := cutLine(block)
		whole := block[:len(block)-len(rest)]
		block = rest
		name, _ := cutField(bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")))
		if string(name) != "data" {
			dst = append(dst, whole...)
			continue
		}
		if !written {
			dst = appendData(dst, data, string(whole[len(line):]))
			written = true
		}
	}
	return dst
}

// AppendTo adds an event on its way to a client, its data rewritten: the bytes as they came if nothing had to change.
// room is memory for the rewriting, given back for the next event. After an error nothing of the event was added.
func (r Rewriter) AppendTo(dst []byte, ev Event, room []byte) (out, spare []byte, err error) {
	if len(ev.Data) == 0 || r.Idle() {
		return append(dst, ev.Raw...), room, nil
	}
	data, _, err := r.Apply(room, ev.Data)
	if err != nil {
		return dst, room, err
	}
	if len(data) == len(ev.Data) && &data[0] == &ev.Data[0] {
		return append(dst, ev.Raw...), room, nil
	}
	return AppendEventData(dst, ev, data), data, nil
}
