const { TEST_PORT, TEST_HOST } = process.env;
const worker = require('node:cluster').worker?.id;
const app = require('fastify')();
app.get('/', async () => ({ worker, pid: process.pid }));
app.listen({ port: Number(TEST_PORT), host: TEST_HOST }).then(() => console.log('SEEN ' + JSON.stringify({ listening: true })));
