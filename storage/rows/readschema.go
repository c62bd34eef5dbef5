package rows

import "fmt"

// element is one node of a file's schema, which comes depth first.
type element struct {
	leaf       bool
	typ        int32
	width      int32
	repetition int32
	name       string
	children   int32
	converted  int32 // -1 for none
	unit       timeUnit
}

func readElement(r *thriftReader) element {
	e := element{converted: -1, repetition: required}
	hasUnit := false
	for last := 0; ; {
		id, t := r.field(&last)
		if t == thriftStop {
			break
		}
		switch id {
		case 1:
			e.typ, e.leaf = r.i32(), true
		case 2:
			e.width = r.i32()
		case 3:
			e.repetition = r.i32()
		case 4:
			e.name = string(r.bytes())
		case 5:
			e.children = r.i32()
		case 6:
			e.converted = r.i32()
		case 10:
			if unit, ok := readTimestampType(r, t); ok {
				e.unit, hasUnit = unit, true
			}
		default:
			r.skip(t)
		}
	}
	if e.converted == convertedTimestampMillis && !hasUnit {
		e.unit = millis
	}
	return e
}

// readTimestampType reads a LogicalType and answers the unit if it is TIMESTAMP.
func readTimestampType(r *thriftReader, typ byte) (unit timeUnit, ok bool) {
	if typ != thriftStruct {
		r.skip(typ)
		return 0, false
	}
	for last := 0; ; {
		id, t := r.field(&last)
		if t == thriftStop {
			return unit, ok
		}
		if id != 8 || t != thriftStruct { // TIMESTAMP
			r.skip(t)
			continue
		}
		for last := 0; ; {
			id, t := r.field(&last)
			if t == thriftStop {
				break
			}
			if id != 2 || t != thriftStruct { // its unit, a union of empty structs
				r.skip(t)
				continue
			}
			for last := 0; ; {
				id, t := r.field(&last)
				if t == thriftStop {
					break
				}
				r.skip(t)
				switch id {
				case 1:
					unit, ok = millis, true
				case 2:
					unit, ok = micros, true
				case 3:
					unit, ok = nanos, true
				}
			}
		}
	}
}

// schemaWalk finds the columns of a topic's table among the leaves of a file.
type schemaWalk struct {
	f        *footer
	elements []element
	slots    []slot // of the leaves so far
	err      error
}

// schema reads the schema. Columns that the file has beside ours are ignored;
// those that it lacks are null.
func (f *footer) schema(r *thriftReader, typ byte) ([]slot, error) {
	n := r.listOf(typ, thriftStruct)
	if n > maxSchema {
		return nil, fmt.Errorf("%w: schema of %d elements", ErrUnsupported, n)
	}
	w := schemaWalk{f: f}
	for ; n > 0 && !r.bad; n-- {
		w.elements = append(w.elements, readElement(r))
	}
	if r.bad || len(w.elements) == 0 || w.elements[0].leaf {
		return nil, fmt.Errorf("%w: schema", ErrCorrupt)
	}
	for s := range f.columns {
		f.columns[s].leaf = -1
	}
	root := w.elements[0]
	w.elements = w.elements[1:]
	for range root.children {
		w.node("", column{}, 0)
		if w.err != nil {
			return nil, w.err
		}
	}
	if len(w.elements) > 0 {
		return nil, fmt.Errorf("%w: schema with elements of no group", ErrCorrupt)
	}
	return w.slots, nil
}

// node takes the next element, and all below it, off the list. top is the
// table column that it belongs to, at the levels of what is above it.
func (w *schemaWalk) node(top string, at column, depth int) {
	if len(w.elements) == 0 || depth > maxThriftDepth {
		w.err = fmt.Errorf("%w: schema", ErrCorrupt)
	}
	if w.err != nil {
		return
	}
	e := w.elements[0]
	w.elements = w.elements[1:]
	if depth == 0 {
		top = e.name
	}
	switch e.repetition {
	case optional:
		at.maxDef++
	case repeated:
		at.maxDef++
		at.maxRep++
		at.elemDef = at.maxDef
	}
	if !e.leaf {
		for range e.children {
			w.node(top, at, depth+1)
			if w.err != nil {
				return
			}
		}
		return
	}
	at.leaf, at.typ, at.width, at.unit = len(w.slots), e.typ, int(e.width), e.unit
	s := slotOf(top, e.name, depth)
	w.slots = append(w.slots, s)
	if s < 0 {
		return
	}
	if w.f.columns[s].leaf >= 0 {
		w.err = fmt.Errorf("%w: two columns %s", ErrUnsupported, slotNames[s])
		return
	}
	if !readable(s, at) {
		w.err = fmt.Errorf("%w: type of column %s", ErrUnsupported, slotNames[s])
		return
	}
	w.f.columns[s] = at
}

// slotOf names the slot of a leaf, -1 for none. The leaves of headers are told by
// their names alone: lists have two or three levels, with names of all kinds
// [F LogicalTypes.md, Lists].
func slotOf(top, name string, depth int) slot {
	switch {
	case top == "headers" && depth > 0 && name == "key":
		return slotHeaderKey
	case top == "headers" && depth > 0 && name == "value":
		return slotHeaderValue
	case depth > 0:
		return -1
	}
	for s := slotPartition; s <= slotValue; s++ {
		if slotNames[s] == name {
			return s
		}
	}
	return -1
}

// readable says whether a column of such a type can be read as what the slot is.
func readable(s slot, c column) bool {
	switch s {
	case slotPartition, slotOffset, slotTimestampType:
		return c.maxRep == 0 && (c.typ == typeInt32 || c.typ == typeInt64)
	case slotTimestamp:
		return c.maxRep == 0 && (c.typ == typeInt64 || c.typ == typeInt96)
	}
	if c.typ == typeFixed && c.width <= 0 || c.typ != typeFixed && c.typ != typeByteArray {
		return false
	}
	if s == slotHeaderKey || s == slotHeaderValue {
		return c.maxRep == 1
	}
	return c.maxRep == 0
}
