// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Fleece.Shell;

/// <summary>
/// Turns the signals that ask a process to go (Ctrl+C, a closing terminal, a service manager) into a call with the
/// exit code they ask for, and keeps the runtime from ending the process under a script that is still cleaning up.
/// </summary>
internal sealed class StopSignals : IDisposable
{
    private const int HangUp = 1;
    private const int Interrupt = 2;
    private const int Terminate = 15;

    private readonly PosixSignalRegistration[] _registrations;

    public StopSignals(Action<int> stop)
    {
        _registrations =
        [
            Register(PosixSignal.SIGHUP, HangUp),
            Register(PosixSignal.SIGINT, Interrupt),
            Register(PosixSignal.SIGTERM, Terminate),
        ];

        PosixSignalRegistration Register(PosixSignal signal, int number) =>
            PosixSignalRegistration.Create(signal, context =>
            {
                context.Cancel = true;
                stop(ExitCode.OfSignal(number));
            });
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
        {
            registration.Dispose();
        }
    }
}
