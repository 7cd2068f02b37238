// Asks the primary for the status when it listens, and says what it is told.
const http = require('node:http');
const { TEST_PORT, TEST_HOST } = process.env;
process.on('message', (message) => {
  if (message.allcores) console.log('SEEN ' + JSON.stringify({ status: message.allcores.status }));
});
http.createServer((request, response) => response.end('{}')).listen(Number(TEST_PORT), TEST_HOST, () => {
  process.send({ allcores: 'status' });
});
