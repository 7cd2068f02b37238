{{/* A time of allcores' settings in milliseconds; `forever` for off; nothing for what is no time. */}}
{{- define "allcores.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 }}
{{- if regexMatch "^[0-9]+$" . }}{{ include "allcores.milliseconds" (printf "%ss" .) }}
{{- else if eq (lower .) "off" }}forever
{{- else if regexMatch "^([0-9]+(ms|s|m|h) *)+$" . }}
{{- $sum := 0 }}
{{- range regexFindAll "[0-9]+[a-z]+" . -1 }}
{{- /* A leading zero would make it octal. */}}
{{- $number := regexReplaceAll "^0+([0-9])" (regexFind "[0-9]+" .) "${1}" | int64 }}
{{- $sum = add $sum (mul $number (get $units (regexFind "[a-z]+" .))) }}
{{- end }}
{{- $sum }}
{{- end }}
{{- end }}

{{/* The two times of a stop, as JSON: milliseconds, with allcores' own defaults for those that are unset. */}}
{{- define "allcores.stop" -}}
{{- $settings := include "allcores.settings" . | fromJson }}
{{- $drain := include "allcores.milliseconds" ($settings.DRAIN_DELAY | default "0s") }}
{{- $stop := include "allcores.milliseconds" ($settings.STOP_TIMEOUT | default "8s") }}
{{- dict "drain" (ternary "0" $drain (eq $drain "forever")) "stop" $stop | toJson }}
{{- end }}

{{/* Seconds that a stop takes at most, rounded up. Nothing when there is no such number. */}}
{{- define "allcores.stopSeconds" -}}
{{- $times := include "allcores.stop" . | fromJson }}
{{- if and $times.drain $times.stop (ne $times.stop "forever") }}
{{- div (add ($times.drain | int64) ($times.stop | int64) 999) 1000 }}
{{- end }}
{{- end }}

{{/* Seconds until the kubelet kills: allcores should have had time to do it itself, and to say so. */}}
{{- define "allcores.gracePeriod" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds }}
{{- add (include "allcores.stopSeconds" . | int64) 5 }}
{{- else }}
{{- .Values.terminationGracePeriodSeconds | int64 }}
{{- end }}
{{- end }}
