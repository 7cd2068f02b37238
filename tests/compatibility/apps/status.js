// Serves, and asks its primary for the status.
const http = require('node:http');
const say = (what) => console.log('SEEN ' + JSON.stringify({ pid: process.pid, ...what }));
const { TEST_PORT, TEST_HOST } = process.env;
process.on('message', (message) => say(message.allcores));
http.createServer((request, response) => response.end(JSON.stringify({ pid: process.pid })))
  .listen(Number(TEST_PORT), TEST_HOST, () => {
    say({ listening: true });
    process.send({ allcores: 'status' });
  });
