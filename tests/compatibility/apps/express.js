const { TEST_PORT, TEST_HOST, TEST_POLITE } = process.env;
const { worker } = require('node:cluster');
require('express')()
  .use((request, response, next) => {
    // All that it takes to end kept connections between two requests, when the worker is to leave.
    if (TEST_POLITE && worker.exitedAfterDisconnect) response.set('Connection', 'close');
    next();
  })
  .get('/', (request, response) => response.json({ worker: worker?.id, pid: process.pid }))
  .listen(Number(TEST_PORT), TEST_HOST, () => console.log('SEEN ' + JSON.stringify({ listening: true })));
