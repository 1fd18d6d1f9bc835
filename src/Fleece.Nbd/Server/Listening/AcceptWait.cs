// SPDX-License-Identifier: MIT
using System.IO.Pipes;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Fleece.Block.Files;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Nbd.Server.Listening;

/// <summary>Waits for a client of a listening socket, and can be told to stop.</summary>
/// <remarks>
/// The framework ends a wait by shutting the socket down, which ends it in every process that has it. This wait leaves the socket as it is.
/// Threading. <see cref="Dispose"/> from any thread; one thread waits.
/// </remarks>
internal sealed class AcceptWait : IDisposable
{
    // POLLIN of poll(2); the same on macOS.
    private const short CanRead = 1;

    // Nothing is sent: the end of the pipe is the word.
    private readonly AnonymousPipeServerStream _pipe = new(PipeDirection.Out);
    private readonly SafePipeHandle _end;

    public AcceptWait() => _end = _pipe.ClientSafePipeHandle;

    /// <summary>Waits until a client can be accepted.</summary>
    /// <returns>False when the wait was told to stop.</returns>
    /// <exception cref="ObjectDisposedException">The socket is closed, or the wait was told to stop before.</exception>
    public bool WaitForClient(SafeSocketHandle listener)
    {
        bool holdsListener = false;
        bool holdsEnd = false;
        try
        {
            // Numbers of descriptors are used again: neither may be closed while the system looks at it.
            listener.DangerousAddRef(ref holdsListener);
            _end.DangerousAddRef(ref holdsEnd);
            LibC.PollEntry[] entries =
            [
                new() { Descriptor = (int)listener.DangerousGetHandle(), Events = CanRead },
                new() { Descriptor = (int)_end.DangerousGetHandle(), Events = CanRead },
            ];
            while (LibC.Poll(ref entries[0], (nuint)entries.Length, timeoutMilliseconds: -1) < 0)
            {
                if (Marshal.GetLastPInvokeError() != LibC.InterruptedErrno)
                {
                    Thread.Sleep(10);
                }
            }

            return entries[1].Returned == 0;
        }
        finally
        {
            if (holdsListener)
            {
                listener.DangerousRelease();
            }

            if (holdsEnd)
            {
                _end.DangerousRelease();
            }
        }
    }

    /// <summary>Tells the wait to stop, and every later one. Idempotent.</summary>
    public void Dispose()
    {
        _pipe.Dispose();
        _end.Dispose();
    }
}
