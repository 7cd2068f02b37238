const { TEST_PORT, TEST_HOST } = process.env;
const worker = require('node:cluster').worker?.id;
require('express')()
  .get('/', (request, response) => response.json({ worker, pid: process.pid }))
  .listen(Number(TEST_PORT), TEST_HOST, () => console.log('SEEN ' + JSON.stringify({ listening: true })));
