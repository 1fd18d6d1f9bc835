# SPDX-License-Identifier: MIT

# A client that the module does not know of, as one of another process: it is connected until it is disposed.
function Connect-Client([string] $SocketPath, [string] $ExportName) {
    $socket = [Net.Sockets.Socket]::new('Unix', 'Stream', 'Unspecified')
    $socket.Connect([Net.Sockets.UnixDomainSocketEndPoint]::new($SocketPath))
    $null = Receive-Bytes $socket 18
    # Fixed newstyle without zeroes, and NBD_OPT_EXPORT_NAME. Source: NBD protocol, "Fixed newstyle negotiation".
    $name = [Text.Encoding]::UTF8.GetBytes($ExportName)
    $null = $socket.Send([byte[]] (0, 0, 0, 3) + [Text.Encoding]::ASCII.GetBytes('IHAVEOPT') + [byte[]] (0, 0, 0, 1, 0, 0, 0, $name.Length) + $name)
    $null = Receive-Bytes $socket 10
    $socket
}

function Receive-Bytes([Net.Sockets.Socket] $Socket, [int] $Count) {
    $bytes = [byte[]]::new($Count)
    for ($have = 0; $have -lt $Count; $have += $got) {
        $got = $Socket.Receive($bytes, $have, $Count - $have, 'None')
        if ($got -eq 0) { throw 'The server has closed the connection.' }
    }
}
