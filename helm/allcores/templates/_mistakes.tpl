{{/*
What the schema cannot see: everything that is wrong with the values, all at once, each with what to do about it.
*/}}
{{- define "allcores.mistakes" -}}
{{- $v := .Values }}
{{- $wrong := list }}
{{- $settings := include "allcores.settings" . | fromJson }}
{{- $http := include "allcores.httpPort" . }}

{{- if not $v.image.repository }}
{{- $wrong = append $wrong "image.repository: the application's image is needed; for example --set image.repository=registry.example.com/web" }}
{{- end }}
{{- if not $v.command }}
{{- $wrong = append $wrong "command: what allcores shall run is needed; for example --set 'command={node,server.js}'" }}
{{- end }}
{{- if and (eq $v.allcores.from "volume") (semverCompare "<1.31-0" .Capabilities.KubeVersion.Version) }}
{{- $wrong = append $wrong (printf "allcores.from: volume needs Kubernetes 1.31, and this is %s; use init" .Capabilities.KubeVersion.Version) }}
{{- end }}

{{- $times := include "allcores.stop" . | fromJson }}
{{- range $name, $time := dict "DRAIN_DELAY" $times.drain "STOP_TIMEOUT" $times.stop }}
{{- if not $time }}
{{- $wrong = append $wrong (printf "settings.%s: %q is no time; write one like 250ms, 5s, 2m or 1h30m, a number of seconds, or off" $name (get $settings $name)) }}
{{- end }}
{{- end }}
{{- $grace := $v.terminationGracePeriodSeconds }}
{{- $needed := include "allcores.stopSeconds" . }}
{{- if kindIs "invalid" $grace }}
{{- if eq $times.stop "forever" }}
{{- $wrong = append $wrong "settings.STOP_TIMEOUT: off waits for ever, and Kubernetes does not; say with terminationGracePeriodSeconds when it shall kill" }}
{{- end }}
{{- else if and $needed (lt ($grace | int64) ($needed | int64)) }}
{{- $wrong = append $wrong (printf "terminationGracePeriodSeconds: %d is less than the %s s of DRAIN_DELAY + STOP_TIMEOUT; leave it out to have it computed" ($grace | int64) $needed) }}
{{- end }}

{{- $names := list "allcores" }}
{{- $numbers := list $http }}
{{- range $v.ports }}
{{- if has .name $names }}
{{- $wrong = append $wrong (printf "ports: two are called %q (allcores' own is called allcores)" .name) }}
{{- end }}
{{- if has (.containerPort | toString) $numbers }}
{{- $wrong = append $wrong (printf "ports: two are %v (settings.HTTP counts)" .containerPort) }}
{{- end }}
{{- $names = append $names .name }}
{{- $numbers = append $numbers (.containerPort | toString) }}
{{- end }}

{{- range $name, $value := dict "ingress" $v.ingress "httpRoute" $v.httpRoute }}
{{- if and $value.enabled (not $v.ports) }}
{{- $wrong = append $wrong (printf "%s.enabled: there is nothing to lead to without ports" $name) }}
{{- end }}
{{- end }}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}
{{- $wrong = append $wrong "httpRoute.parentRefs: the Gateway is needed; for example --set 'httpRoute.parentRefs[0].name=public'" }}
{{- end }}
{{- if and (eq ($settings.CONTROL | default "auto") "off") (not $http) (or $v.probes.startup $v.probes.readiness $v.probes.liveness) }}
{{- $wrong = append $wrong "settings.CONTROL: probes need it, or settings.HTTP to be reached from outside the pod; for example HTTP: \":9180\"" }}
{{- end }}
{{- if and $v.podMonitor.enabled (not $http) }}
{{- $wrong = append $wrong "podMonitor.enabled: metrics need settings.HTTP to be reached from outside the pod; for example \":9180\"" }}
{{- end }}
{{- with $v.podDisruptionBudget }}
{{- if and .enabled (eq (kindIs "invalid" .minAvailable) (kindIs "invalid" .maxUnavailable)) }}
{{- $wrong = append $wrong "podDisruptionBudget: one of minAvailable and maxUnavailable has to be null" }}
{{- end }}
{{- end }}
{{- with $v.autoscaling }}
{{- if .enabled }}
{{- if gt (.minReplicas | int) (.maxReplicas | int) }}
{{- $wrong = append $wrong "autoscaling.minReplicas: it is more than maxReplicas" }}
{{- end }}
{{- if and .targetCPUUtilizationPercentage (not (dig "requests" "cpu" "" $v.resources)) (not (dig "limits" "cpu" "" $v.resources)) }}
{{- $wrong = append $wrong "autoscaling.targetCPUUtilizationPercentage: it is a share of resources.requests.cpu, which is not set" }}
{{- end }}
{{- if not (or .targetCPUUtilizationPercentage .metrics) }}
{{- $wrong = append $wrong "autoscaling.metrics: without targetCPUUtilizationPercentage one is needed" }}
{{- end }}
{{- end }}
{{- end }}

{{- if $wrong }}
{{- fail (printf "\n\nwrong values: %d\n  %s\n" (len $wrong) (join "\n  " $wrong)) }}
{{- end }}
{{- end }}
