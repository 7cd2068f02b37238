// Clients that are libraries.   usage: node client.js KIND ADDRESS     Prints one JSON object, or fails.
const [kind, address] = process.argv.slice(2);
const [host, port] = address.split(':');
const COUNT = 100;
const fail = (error) => { console.error(error); process.exit(1); };
process.on('unhandledRejection', fail);
setTimeout(() => fail(new Error('no end')), 40_000).unref();
const done = (result) => { console.log(JSON.stringify(result)); process.exit(0); };

const kinds = {
  async undici() {
    const { Agent, request } = require('undici');
    const dispatcher = new Agent({ connections: 4, pipelining: 1 });
    const answers = await Promise.all(Array.from({ length: COUNT }, async () => {
      const { statusCode, body } = await request(`http://${address}/`, { dispatcher });
      await body.json();
      return statusCode;
    }));
    done({ answered: answers.filter((code) => code === 200).length });
  },
  async ws() {
    const WebSocket = require('ws');
    const workers = new Set();
    let answered = 0;
    for (let i = 0; i < COUNT; i++) {
      const socket = new WebSocket(`ws://${address}`);
      await new Promise((resolve, reject) => {
        socket.on('error', reject);
        socket.on('open', () => socket.send(`hello ${i}`));
        socket.on('message', (message) => {
          const { worker, echo } = JSON.parse(message);
          workers.add(worker);
          if (echo === `hello ${i}`) answered++;
          socket.close();
        });
        socket.on('close', resolve);
      });
    }
    done({ answered, workers: workers.size });
  },
  async socketio() {
    const { io } = require('socket.io-client');
    const workers = new Set();
    let answered = 0;
    for (let connection = 0; connection < 5; connection++) {
      const socket = io(`http://${address}`, { transports: ['polling'], reconnection: false, forceNew: true });
      await new Promise((resolve, reject) => { socket.on('connect', resolve); socket.on('connect_error', reject); });
      socket.on('disconnect', (why) => { if (why !== 'io client disconnect') fail(new Error(why)); });
      for (let i = 0; i < COUNT / 5; i++) {
        const { worker, echo } = await socket.timeout(10_000).emitWithAck('echo', i);
        workers.add(worker);
        if (echo === i) answered++;
      }
      socket.disconnect();
    }
    done({ answered, workers: workers.size });
  },
  async tls() {
    // One session for all, each time with a connection of its own.
    const tls = require('node:tls');
    const workers = new Set();
    let session, resumed = 0, answered = 0;
    for (let i = 0; i < 9; i++) {
      await new Promise((resolve, reject) => {
        const socket = tls.connect({ host, port, session, rejectUnauthorized: false, maxVersion: 'TLSv1.2' });
        let text = '';
        socket.on('error', reject);
        socket.on('secureConnect', () => {
          if (socket.isSessionReused()) resumed++;
          session ??= socket.getSession();
          socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
        });
        socket.on('data', (data) => { text += data; });
        socket.on('close', () => {
          const worker = /"worker":(\d+)/.exec(text);
          if (worker) { answered++; workers.add(worker[1]); }
          resolve();
        });
      });
    }
    done({ answered, resumed, workers: workers.size });
  },
};
kinds[kind]();
