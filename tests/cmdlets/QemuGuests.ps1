# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
A real QEMU without a guest system, whose disks are written through its monitor as a guest would write.

.DESCRIPTION
Its QMP socket is qmp.sock in the folder, which Fleece uses; qmp2.sock is the tests' own. The disks virtio0 (system.qcow2, keeps bitmaps) and
virtio1 (data.raw, keeps none) have 4 MiB each and random content; more devices can be given.
#>

function Get-QemuProgram {
    if ($env:QEMU10_SYSTEM) { return $env:QEMU10_SYSTEM }
    (Get-Command qemu-system-x86_64 -CommandType Application -ErrorAction Ignore | Select-Object -First 1).Source
}

function Test-HasQemu { [bool] (Get-QemuProgram) }

function Skip-WithoutQemu {
    if (-not (Test-HasQemu)) { Set-ItResult -Skipped -Because 'there is no qemu-system-x86_64' }
}

# The test ends it with Stop-TestGuest.
function Start-TestGuest([string] $Folder, [string] $Name, [string[]] $More = @()) {
    [IO.File]::WriteAllBytes("$Folder/data.raw", (Get-RandomData 4MB 1))
    [IO.File]::WriteAllBytes("$Folder/system.raw", (Get-RandomData 4MB 2))
    if (-not (Test-Path "$Folder/system.qcow2")) {
        $null = Convert-FleeceImage "$Folder/system.raw" "$Folder/system.qcow2" -Format Qcow2
    }
    $arguments = @(
        '-nodefaults', '-display', 'none', '-machine', 'q35', '-m', '32', '-S'
        if ($Name) { '-name', $Name }
        '-qmp', "unix:$Folder/qmp.sock,server=on,wait=off", '-qmp', "unix:$Folder/qmp2.sock,server=on,wait=off"
        '-blockdev', "qcow2,node-name=system,discard=unmap,file.driver=file,file.discard=unmap,file.filename=$Folder/system.qcow2"
        '-blockdev', "raw,node-name=data,discard=unmap,file.driver=file,file.discard=unmap,file.filename=$Folder/data.raw"
        '-device', 'virtio-blk-pci,drive=system,id=virtio0', '-device', 'virtio-blk-pci,drive=data,id=virtio1'
    ) + $More
    $process = Start-Process (Get-QemuProgram) $arguments -PassThru -RedirectStandardOutput "$Folder/qemu.out" `
        -RedirectStandardError "$Folder/qemu.err"
    $null = $process.Handle # Without it the exit code of a process that has ended is not known.
    while (-not (Test-Path "$Folder/qmp2.sock")) {
        if ($process.WaitForExit(20)) { throw "QEMU ended: $(Get-Content "$Folder/qemu.err" -Raw)" }
    }
    $process
}

function Stop-TestGuest($Guest) {
    if ($Guest -and -not $Guest.HasExited) {
        $Guest.Kill()
        $Guest.WaitForExit()
    }
}

# A command on the tests' own monitor, and its answer.
function Invoke-Qmp([string] $Folder, [string] $Command, [hashtable] $Arguments = @{}) {
    $socket = [Net.Sockets.Socket]::new([Net.Sockets.AddressFamily]::Unix, [Net.Sockets.SocketType]::Stream, 0)
    $tries = 0
    while (-not $socket.Connected) {
        try {
            $socket.Connect([Net.Sockets.UnixDomainSocketEndPoint]::new("$Folder/qmp2.sock"))
        } catch {
            # The file is there a moment before QEMU listens.
            if (++$tries -gt 250) { throw }
            Start-Sleep -Milliseconds 20
        }
    }
    $stream = [Net.Sockets.NetworkStream]::new($socket, $true)
    try {
        $reader = [IO.StreamReader]::new($stream)
        $null = $reader.ReadLine()
        foreach ($line in @{ execute = 'qmp_capabilities' }, @{ execute = $Command; arguments = $Arguments }) {
            $stream.Write([Text.Encoding]::UTF8.GetBytes((ConvertTo-Json $line -Compress -Depth 20) + "`n"))
            do { $answer = ConvertFrom-Json $reader.ReadLine() -Depth 20 } until ($answer.PSObject.Properties['return'] -or $answer.error)
            if ($answer.error) { throw $answer.error.desc }
        }
        $answer.return
    } finally {
        $stream.Dispose()
    }
}

# As the guest writes: through the device.
function Write-TestGuest([string] $Folder, [string] $Device, [string] $Pattern, [string] $Offset, [string] $Length) {
    $line = "qemu-io -d /machine/peripheral/$Device/virtio-backend `"write -P $Pattern $Offset $Length`""
    $answer = Invoke-Qmp $Folder human-monitor-command @{ 'command-line' = $line }
    if ($answer) { throw "qemu-io said: $answer" }
}

# All that a session can leave in QEMU.
function Get-GuestGraph([string] $Folder) {
    $nodes = (Invoke-Qmp $Folder query-named-block-nodes).'node-name' | Sort-Object
    $devices = (Invoke-Qmp $Folder query-block) | ForEach-Object { "$($_.qdev)=$($_.inserted.'node-name')" }
    $exports = (Invoke-Qmp $Folder query-block-exports).id
    (@($nodes) + @($devices) + @($exports)) -join "`n"
}

function Get-FileDigest([string] $Path) { (Get-FileHash $Path).Hash }
