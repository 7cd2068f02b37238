const { TEST_PORT, TEST_HOST } = process.env;
const worker = require('node:cluster').worker?.id;
const Koa = require('koa');
const app = new Koa();
app.use(async (context) => { context.body = { worker, pid: process.pid }; });
app.listen(Number(TEST_PORT), TEST_HOST, () => console.log('SEEN ' + JSON.stringify({ listening: true })));
