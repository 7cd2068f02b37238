// Sends every connection that it takes to the primary, then a message, then closes its server.
const net = require('node:net');
const dgram = require('node:dgram');
const say = (what) => console.log('SEEN ' + JSON.stringify({ pid: process.pid, ...what }));
const { TEST_PORT, TEST_HOST } = process.env;
const server = net.createServer((socket) => {
  process.send('take it', socket, (error) => {
    say({ sent: 'socket', error: error && String(error) });
    const udp = dgram.createSocket('udp4').bind({ port: 0, address: '127.0.0.1', exclusive: true }, () => {
      process.send('and this', udp, (error) => {
        say({ sent: 'udp', error: error && String(error) });
        udp.close();
        process.send('words', (error) => say({ sent: 'words', error: error && String(error) }));
        server.getConnections((error, count) => {
          say({ count });
          server.close(() => {
            say({ closed: true });
            // What is not heard now is never answered: this asks for another listener.
            net.createServer().listen(0, TEST_HOST, () => say({ again: true }));
          });
        });
      });
    });
  });
});
server.listen(Number(TEST_PORT), TEST_HOST, () => say({ listening: true }));
