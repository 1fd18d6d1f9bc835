// SPDX-License-Identifier: MIT
using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using Fleece.Block;

namespace Fleece.Qemu.Guard;

/// <summary>The guard's process, seen from the process that is guarded.</summary>
internal sealed class GuardHelper : IAsyncDisposable
{
    private const int MaximumErrorLength = 1000;
    private static readonly TimeSpan EndTime = TimeSpan.FromSeconds(2);

    private readonly Process _process;
    private readonly StringBuilder _errors = new();
    private readonly Task _readingErrors;
    private Task<string?>? _line;

    private GuardHelper(Process process)
    {
        _process = process;
        _readingErrors = ReadErrorsAsync();
    }

    /// <summary>The process.</summary>
    public int ProcessId => _process.Id;

    /// <summary>Starts the program.</summary>
    /// <remarks>The guard gets three pipes and nothing else of this process: .NET marks its descriptors so that a program does not get
    /// them. The end of its standard input is therefore the end of this process.</remarks>
    /// <exception cref="BlockException"><see cref="BlockErrors.IoFailed"/></exception>
    public static GuardHelper Start(GuardProgram program)
    {
        ProcessStartInfo start = new(program.Path, program.Arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardInputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false),
            StandardOutputEncoding = Encoding.UTF8,
            UseShellExecute = false,
            CreateNoWindow = true,
            WorkingDirectory = Path.GetPathRoot(Environment.CurrentDirectory),
        };

        // about_Telemetry and about_Update_Notifications: what a PowerShell does beside its work when it starts.
        start.Environment["POWERSHELL_TELEMETRY_OPTOUT"] = "1";
        start.Environment["POWERSHELL_UPDATECHECK"] = "Off";
        try
        {
            return new GuardHelper(Process.Start(start)!);
        }
        catch (Win32Exception e)
        {
            throw new BlockException(
                BlockErrors.IoFailed, $"The guard of the guest did not start: {e.Message}.", program.Path, operation: "quiesce", cause: e);
        }
    }

    /// <summary>Sends a word. False where the guard has ended.</summary>
    public async ValueTask<bool> TellAsync(GuardWord word)
    {
        try
        {
            await _process.StandardInput.WriteLineAsync(word.ToLine()).ConfigureAwait(false);
            await _process.StandardInput.FlushAsync().ConfigureAwait(false);
            return true;
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            return false;
        }
    }

    /// <summary>Receives a word. Null where none came in time, and where the guard has ended.</summary>
    public async ValueTask<GuardWord?> HearAsync(TimeSpan patience, CancellationToken cancellationToken)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(patience);
        try
        {
            while (true)
            {
                // A wait that is given up leaves the line to the next one.
                _line ??= _process.StandardOutput.ReadLineAsync(CancellationToken.None).AsTask();
                string? line = await _line.WaitAsync(limit.Token).ConfigureAwait(false);
                _line = null;
                if (line is null)
                {
                    return null;
                }

                if (GuardWord.TryParse(line) is { } word)
                {
                    return word;
                }

                Note(line);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return null;
        }
    }

    /// <summary>How the guard ended, as the rest of a sentence about it.</summary>
    public async ValueTask<string> DescribeEndAsync()
    {
        if (!await HasEndedAsync().ConfigureAwait(false))
        {
            return "does not answer.";
        }

        await Task.WhenAny(_readingErrors, Task.Delay(EndTime)).ConfigureAwait(false);
        lock (_errors)
        {
            string how = $"ended with exit code {_process.ExitCode}";
            return _errors.Length == 0 ? $"{how}." : $"{how}, and said: {_errors.ToString().Trim()}";
        }
    }

    /// <summary>Ends the guard as it is, whatever it does.</summary>
    public void Kill()
    {
        try
        {
            _process.Kill();
        }
        catch (Exception e) when (e is InvalidOperationException or Win32Exception)
        {
            // It has ended.
        }
    }

    /// <summary>Lets the guard go, and waits for its end for a moment. One that has a thaw to finish ends later.</summary>
    public async ValueTask DisposeAsync()
    {
        // Without a word the end of its input is this process's death.
        await TellAsync(new GuardWord(GuardVerb.Done)).ConfigureAwait(false);
        try
        {
            _process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It has ended.
        }

        await HasEndedAsync().ConfigureAwait(false);
    }

    private async ValueTask<bool> HasEndedAsync()
    {
        using CancellationTokenSource limit = new(EndTime);
        try
        {
            await _process.WaitForExitAsync(limit.Token).ConfigureAwait(false);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private async Task ReadErrorsAsync()
    {
        while (await _process.StandardError.ReadLineAsync().ConfigureAwait(false) is { } line)
        {
            Note(line);
        }
    }

    private void Note(string line)
    {
        lock (_errors)
        {
            if (_errors.Length < MaximumErrorLength)
            {
                _errors.Append(line.AsSpan(0, Math.Min(line.Length, MaximumErrorLength - _errors.Length))).Append(' ');
            }
        }
    }
}
