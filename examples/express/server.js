// An ordinary application: it knows nothing of workers, but for its answer.
const app = require('express')();

app.get('/', (request, response) => {
  response.send(`worker ${process.env.ALLCORES_WORKER}\n`);
});
app.listen(process.env.PORT ?? 8080);
