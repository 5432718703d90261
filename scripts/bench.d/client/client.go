// The client benchmark's program in Go: publishes or receives 16-byte messages with nats.go as its documentation shows
// it, and prints one JSON object. Its twin is Tests/Benchmarks/NATSClient.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

const subject = "bench.client"

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

type moment struct {
	wall time.Time
	cpu  int64
}

func now() moment {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return moment{time.Now(), usage.Utime.Nano() + usage.Stime.Nano()}
}

func report(count int64, begin, end moment) {
	fmt.Printf("{\"messages\":%d,\"seconds\":%f,\"cpu_ns\":%d}\n", count, end.wall.Sub(begin.wall).Seconds(), end.cpu-begin.cpu)
}

func publish(nc *nats.Conn, count int64) {
	payload := []byte("0123456789abcdef")
	send := func(number int64) {
		for i := int64(0); i < number; i++ {
			check(nc.Publish(subject, payload))
		}
		check(nc.Flush())
	}
	send(count / 10)
	begin := now()
	send(count)
	report(count, begin, now())
}

func receive(nc *nats.Conn, count int64) {
	var seen atomic.Int64
	var begin moment
	done := make(chan moment, 1)
	subscription, err := nc.Subscribe(subject, func(*nats.Msg) {
		switch seen.Add(1) {
		case count / 10:
			begin = now()
		case count:
			done <- now()
		}
	})
	check(err)
	check(subscription.SetPendingLimits(-1, -1))
	check(nc.Flush())
	fmt.Println("ready")
	select {
	case end := <-done:
		report(count-count/10, begin, end)
	case <-time.After(60 * time.Second):
		log.Fatalf("only %d of %d messages came", seen.Load(), count)
	}
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: client-go publish|receive COUNT")
	}
	count, err := strconv.ParseInt(os.Args[2], 10, 64)
	check(err)
	nc, err := nats.Connect(os.Getenv("NATS_URL"))
	check(err)
	defer nc.Close()
	switch os.Args[1] {
	case "publish":
		publish(nc, count)
	case "receive":
		receive(nc, count)
	default:
		log.Fatalf("unknown: %s", os.Args[1])
	}
}
