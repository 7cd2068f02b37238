<?php
usleep(5000);
echo 'worker ', getenv('ALLCORES_WORKER'), "\n";
