run lambda { |_|
  sleep 0.005
  [200, { 'content-type' => 'text/plain' }, ["worker #{ENV.fetch('ALLCORES_WORKER')}\n"]]
}
