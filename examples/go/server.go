package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		time.Sleep(5 * time.Millisecond)
		fmt.Fprintf(response, "worker %s\n", os.Getenv("ALLCORES_WORKER"))
	})
	log.Fatal(http.Serve(listener, nil))
}
