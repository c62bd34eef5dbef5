package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// Plots are SVG: a chart with lines is a page of text, and a charting library would
// bring its fonts into the broker's binary.

// line is one curve of a chart.
type line struct {
	name   string
	xs, ys []float64
	dots   bool // the points only: other people's measurements
	pair   bool // belongs to the line before: its colour, dashed
}

// chart is lines over two axes.
type chart struct {
	title, x, y string
	logX, logY  bool
	ticks       []tickAt // of the x axis; nil: chosen
	lines       []line
}

type tickAt struct {
	at   float64
	text string
}

// The measures of a chart, in pixels.
const (
	width, height           = 920, 480
	left, right, top, under = 78, 290, 48, 58
)

var colours = []string{"#0b6e99", "#d9730d", "#0f7b6c", "#ad1a72", "#6940a5", "#9b9a97", "#e03e3e", "#64473a"}

// write writes the chart as an SVG document.
func (c *chart) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui,sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/><text x="%d" y="26" font-size="15">%s</text>`+"\n", width, height, left, escape(c.title))
	xs, ys := c.axis(c.logX, func(l line) []float64 { return l.xs }), c.axis(c.logY, func(l line) []float64 { return l.ys })
	if !c.logY {
		ys.low = 0
	}
	px := func(v float64) float64 { return left + xs.part(v)*(width-left-right) }
	py := func(v float64) float64 { return height - under - ys.part(v)*(height-top-under) }
	ticks := c.ticks
	if ticks == nil {
		ticks = xs.ticks()
	}
	for _, t := range ticks {
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#eee"/><text x="%.1f" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n",
			px(t.at), px(t.at), top, height-under, px(t.at), height-under+18, escape(t.text))
	}
	for _, t := range ys.ticks() {
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#eee"/><text x="%d" y="%.1f" text-anchor="end" fill="#555">%s</text>`+"\n",
			left, width-right, py(t.at), py(t.at), left-8, py(t.at)+4, escape(t.text))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", left+(width-left-right)/2, height-14, escape(c.x))
	fmt.Fprintf(&b, `<text transform="translate(20 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", top+(height-top-under)/2, escape(c.y))
	colour, next := "", 0
	for i, l := range c.lines {
		fill, dash := "", ""
		if l.pair {
			dash = ` stroke-dasharray="5 4"`
			fill = ` fill-opacity="0.45"`
		} else {
			colour = colours[next%len(colours)]
			next++
		}
		var points []string
		for j := range l.xs {
			if c.logX && l.xs[j] <= 0 || c.logY && l.ys[j] <= 0 {
				continue
			}
			points = append(points, fmt.Sprintf("%.1f,%.1f", px(l.xs[j]), py(l.ys[j])))
			if l.dots || len(l.xs) < 16 {
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"%s/>`, px(l.xs[j]), py(l.ys[j]), colour, fill)
			}
		}
		if !l.dots {
			fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2"%s points="%s"/>`+"\n", colour, dash, strings.Join(points, " "))
		}
		y := top + 10 + 20*i
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="4" fill="%s"%s/><text x="%d" y="%d">%s</text>`+"\n", width-right+16, y, colour, fill, width-right+26, y+4, escape(l.name))
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// scale is the span of an axis.
type scale struct {
	low, high float64
	log       bool
}

func (c *chart) axis(log bool, of func(line) []float64) scale {
	s := scale{math.Inf(1), math.Inf(-1), log}
	for _, l := range c.lines {
		for _, v := range of(l) {
			if log && v <= 0 {
				continue
			}
			s.low, s.high = min(s.low, v), max(s.high, v)
		}
	}
	if s.low > s.high {
		s.low, s.high = 1, 10
	}
	if s.log {
		s.low, s.high = s.low/1.3, s.high*1.3
	} else {
		s.high *= 1.05
	}
	if s.high <= s.low {
		s.high = s.low + 1
	}
	return s
}

// part is where on the axis a value is, between 0 and 1.
func (s scale) part(v float64) float64 {
	if s.log {
		return math.Log(v/s.low) / math.Log(s.high/s.low)
	}
	return (v - s.low) / (s.high - s.low)
}

// ticks are round values within the scale: 1, 2 and 5 of each power of ten on a
// logarithmic one, about six steps otherwise.
func (s scale) ticks() (all []tickAt) {
	if s.log {
		for power := math.Pow(10, math.Floor(math.Log10(s.low))); power <= s.high; power *= 10 {
			for _, m := range []float64{1, 2, 5} {
				if v := m * power; v >= s.low && v <= s.high {
					all = append(all, tickAt{v, short(v)})
				}
			}
		}
		return all
	}
	step := math.Pow(10, math.Floor(math.Log10((s.high-s.low)/6)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (s.high-s.low)/(m*step) <= 8 {
			step *= m
			break
		}
	}
	for v := math.Ceil(s.low/step) * step; v <= s.high; v += step {
		all = append(all, tickAt{v, short(v)})
	}
	return all
}

// short writes a number as people do: 250k, 1M, 0.5.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%gM", math.Round(v/1e4)/100)
	case v >= 1e4:
		return fmt.Sprintf("%gk", math.Round(v/1e2)/10)
	}
	return fmt.Sprintf("%g", math.Round(v*1e4)/1e4)
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
