// An ordinary server: it knows nothing of workers, but for its answer.
const http = require('node:http');

http.createServer((request, response) => {
  response.end(`worker ${process.env.ALLCORES_WORKER}\n`);
}).listen(process.env.PORT ?? 8080);
