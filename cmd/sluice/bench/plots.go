package bench

import (
	"fmt"
	"io"
	"slices"
)

// Plot is a chart of results, by its file name.
type Plot struct {
	Name  string
	chart chart
}

// Write writes the plot as an SVG document.
func (p Plot) Write(w io.Writer) error { return p.chart.write(w) }

// Plots draws what the results have to show: the percentile curves, latency over
// time, latency against rate beside the article's figures, and the cost of latency
// in store requests. Each only where there is something to see.
func Plots(results []Result) []Plot {
	var all []Plot
	for _, p := range []Plot{percentiles(results), overTime(results), againstRate(results), byCost(results)} {
		if len(p.chart.lines) > 0 {
			all = append(all, p)
		}
	}
	return all
}

func label(r Result) string {
	name := r.Name + " " + string(r.Workload)
	if r.Rate > 0 {
		name += " " + short(float64(r.Rate)) + "/s"
	}
	name += fmt.Sprintf(" %d B", r.Size)
	if r.Partition > 1 {
		name += fmt.Sprintf(" %d partitions", r.Partition)
	}
	return name
}

// percentiles has the axis of HdrHistogram's plots: equal steps for each further nine.
func percentiles(results []Result) Plot {
	c := chart{title: "End to end latency by percentile", x: "percentile", y: "ms", logX: true, logY: true}
	for _, p := range []float64{50, 90, 99, 99.9, 99.99} {
		c.ticks = append(c.ticks, tickAt{100 / (100 - p), fmt.Sprintf("%g", p)})
	}
	for _, r := range results {
		l := line{name: label(r)}
		for _, p := range r.EndToEnd.Points {
			if p.Percentile < 100 {
				l.xs, l.ys = append(l.xs, 100/(100-p.Percentile)), append(l.ys, ms(p.Latency))
			}
		}
		if len(l.xs) > 0 && r.EndToEnd.Count > 0 {
			c.lines = append(c.lines, l)
		}
	}
	return Plot{"percentiles.svg", c}
}

func overTime(results []Result) Plot {
	c := chart{title: "p99 of end to end latency, second by second", x: "seconds", y: "ms", logY: true}
	for _, r := range results {
		l := line{name: label(r)}
		for _, s := range r.Series {
			if s.P99 > 0 {
				l.xs, l.ys = append(l.xs, float64(s.At)), append(l.ys, ms(s.P99))
			}
		}
		if len(l.xs) > 1 {
			c.lines = append(c.lines, l)
		}
	}
	return Plot{"over-time.svg", c}
}

// others are what others got, in ms: Pathway's article "Kafka alternatives" for Delta
// tables on MinIO (it has no p99 from 70k on), and a writer and a reader of a few lines
// in Python on delta-rs, with a commit each 100 ms.
var others = []line{
	{name: "Pathway + Delta p50 (article)", xs: []float64{10_000, 30_000, 70_000, 150_000, 250_000}, ys: []float64{260, 280, 1450, 1680, 1980}, dots: true},
	{name: "Pathway + Delta p99 (article)", xs: []float64{10_000, 30_000}, ys: []float64{670, 640}, dots: true, pair: true},
	{name: "delta-rs script p50", xs: []float64{10_000, 250_000}, ys: []float64{90, 220}, dots: true},
	{name: "delta-rs script p99", xs: []float64{10_000, 250_000}, ys: []float64{240, 460}, dots: true, pair: true},
}

func againstRate(results []Result) Plot {
	c := chart{title: "End to end latency against rate", x: "records per second", y: "ms", logX: true, logY: true}
	sorted := slices.Clone(results)
	slices.SortStableFunc(sorted, func(a, b Result) int { return a.Rate - b.Rate })
	var names []string
	for _, r := range sorted {
		if !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	for _, name := range names {
		p50, p99 := line{name: name + " p50"}, line{name: name + " p99", pair: true}
		for _, r := range sorted {
			if r.Name == name && r.Rate > 0 && r.EndToEnd.Count > 0 {
				p50.xs, p50.ys = append(p50.xs, float64(r.Rate)), append(p50.ys, ms(r.EndToEnd.P50))
				p99.xs, p99.ys = append(p99.xs, float64(r.Rate)), append(p99.ys, ms(r.EndToEnd.P99))
			}
		}
		if len(p50.xs) > 1 {
			c.lines = append(c.lines, p50, p99)
		}
	}
	if len(c.lines) > 0 {
		c.lines = append(c.lines, others...)
	}
	return Plot{"against-rate.svg", c}
}

// The list prices of S3 Standard in us-east-1, dollars per request, and the seconds
// of a month.
const (
	putPrice = 5.0 / 1e6
	getPrice = 0.4 / 1e6
	month    = 30.4 * 86_400
)

// MonthlyRequests is what the store's requests of the measured time would cost in a
// month on S3 Standard, in dollars.
func (u *Usage) MonthlyRequests() float64 {
	if u == nil || u.Seconds <= 0 {
		return 0
	}
	return (u.Puts*putPrice + (u.Requests-u.Puts)*getPrice) / u.Seconds * month
}

func byCost(results []Result) Plot {
	c := chart{title: "Requests to S3 Standard against latency", x: "p50 end to end, ms", y: "dollars a month", logX: true, logY: true}
	var l line
	l.name, l.dots = "a run each", true
	for _, r := range results {
		if dollars := r.Usage.MonthlyRequests(); dollars > 0 && r.EndToEnd.Count > 0 {
			l.xs, l.ys = append(l.xs, ms(r.EndToEnd.P50)), append(l.ys, dollars)
		}
	}
	if len(l.xs) > 1 {
		c.lines = []line{l}
	}
	return Plot{"cost.svg", c}
}
