// PM2's way: says `ready` when it is, which is a while after it listens. With TEST_NEVER it does neither.
const http = require('node:http');
const { TEST_PORT, TEST_HOST, TEST_NEVER } = process.env;
process.on('SIGUSR2', () => process.send('ready'));
if (TEST_NEVER) setInterval(() => {}, 1000);
else http.createServer((request, response) => response.end('{}')).listen(Number(TEST_PORT), TEST_HOST, () => {
  console.log('SEEN ' + JSON.stringify({ listening: true }));
});
