// One answer: which worker gave it. Finishes what it has when it is told to leave, and has moods for those who ask for one.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	deaf   atomic.Bool
	memory [][]byte
)

// "/slow/1000" answers after a second.
func number(request *http.Request, prefix string) int {
	number, err := strconv.Atoi(request.URL.Path[len(prefix):])
	if err != nil {
		log.Fatal(err)
	}
	return number
}

func answer(response http.ResponseWriter, after time.Duration) {
	time.Sleep(after)
	fmt.Fprint(response, os.Getenv("ALLCORES_WORKER"))
}

func ready() {
	if socket := os.Getenv("NOTIFY_SOCKET"); socket != "" {
		connection, err := net.Dial("unixgram", socket)
		if err != nil {
			log.Fatal(err)
		}
		connection.Write([]byte("READY=1"))
	}
}

func main() {
	listener, err := net.FileListener(os.NewFile(3, ""))
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		answer(response, 5*time.Millisecond)
	})
	http.HandleFunc("/slow/", func(response http.ResponseWriter, request *http.Request) {
		answer(response, time.Duration(number(request, "/slow/"))*time.Millisecond)
	})
	// So many MiB are kept.
	http.HandleFunc("/leak/", func(response http.ResponseWriter, request *http.Request) {
		piece := make([]byte, number(request, "/leak/")<<20)
		for i := range piece {
			piece[i] = 1
		}
		memory = append(memory, piece)
		answer(response, 0)
	})
	// TERM is not heard any more.
	http.HandleFunc("/deaf", func(response http.ResponseWriter, request *http.Request) {
		deaf.Store(true)
		answer(response, 0)
	})

	server, left := &http.Server{}, make(chan struct{})
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	go func() {
		for range asked {
			if !deaf.Load() {
				server.Shutdown(context.Background())
				close(left)
				return
			}
		}
	}()
	ready()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-left
}
