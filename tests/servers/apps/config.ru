# One answer: which worker gave it.
run lambda { |_|
  sleep 0.005
  [200, { 'Content-Type' => 'text/plain' }, [ENV.fetch('ALLCORES_WORKER')]]
}
