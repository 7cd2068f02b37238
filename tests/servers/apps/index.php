<?php
// One answer: which worker gave it.
usleep(5000);
echo getenv('ALLCORES_WORKER');
