// The benchmark's service in Go. Without arguments: plain nats.go subscribers, encoding/json into map[string]any, as
// the client's own documentation shows it. With -micro the two request subjects are services of the client's service
// API (package micro) instead, everything else stays.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"log"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

var count atomic.Int64

var sample = map[string]any{
	"key1": "value1",
	"key2": 2,
	"key3": 3.0,
	"key4": []any{1, 2, 3, 4},
	"key5": map[string]any{"1": 1, "2": 2, "3": 3, "4": 4, "5": 5},
	"key6": map[string]any{"subkey1": "1", "subkey2": 2, "3": 3, "4": 4, "5": 5},
	"key7": nil,
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func encode(value any) []byte {
	encoded, err := json.Marshal(value)
	check(err)
	return encoded
}

func decode(data []byte) map[string]any {
	var value map[string]any
	check(json.Unmarshal(data, &value))
	return value
}

func emit(nc *nats.Conn, request *nats.Msg) {
	var wanted struct {
		N    int    `json:"n"`
		Mode string `json:"mode"`
	}
	check(json.Unmarshal(request.Data, &wanted))
	content := bytes.Repeat([]byte("x"), 16)
	for i := 0; i < wanted.N; i++ {
		if wanted.Mode == "json" {
			content = encode(sample)
		}
		check(nc.Publish("bench.out", content))
	}
	check(request.Respond(encode(map[string]any{"emitted": wanted.N})))
}

func service(nc *nats.Conn, name, subject string, handler func(*micro.Request)) {
	_, err := micro.AddService(nc, micro.Config{
		Name: name, Version: "1.0.0", Endpoint: micro.Endpoint{Subject: subject, Handler: handler},
	})
	check(err)
}

func main() {
	asService := flag.Bool("micro", false, "answer requests through the service API")
	flag.Parse()
	url := os.Getenv("NATS_URL")
	if url == "" {
		url = nats.DefaultURL
	}
	nc, err := nats.Connect(url)
	check(err)

	listen := func(subject string, handler nats.MsgHandler) {
		_, err := nc.Subscribe(subject, handler)
		check(err)
	}
	if *asService {
		service(nc, "Echo", "bench.echo", func(r *micro.Request) { check(r.Respond(encode(decode(r.Data())))) })
		service(nc, "Raw", "bench.raw", func(r *micro.Request) { check(r.Respond(r.Data())) })
	} else {
		listen("bench.echo", func(m *nats.Msg) { check(m.Respond(encode(decode(m.Data)))) })
		listen("bench.raw", func(m *nats.Msg) { check(m.Respond(m.Data)) })
	}
	listen("bench.sink.json", func(m *nats.Msg) {
		if decode(m.Data) != nil {
			count.Add(1)
		}
	})
	listen("bench.sink.raw", func(*nats.Msg) { count.Add(1) })
	listen("bench.count", func(m *nats.Msg) { check(m.Respond(encode(map[string]any{"count": count.Load()}))) })
	listen("bench.reset", func(m *nats.Msg) {
		count.Store(0)
		check(m.Respond(encode(map[string]any{"count": 0})))
	})
	listen("bench.emit", func(m *nats.Msg) { emit(nc, m) })
	check(nc.Flush())

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	check(nc.Drain())
}
