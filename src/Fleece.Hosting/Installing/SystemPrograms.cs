// SPDX-License-Identifier: MIT
using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using Fleece.Block;

namespace Fleece.Hosting.Installing;

/// <summary>The programs of the system that install a service.</summary>
/// <param name="Folders">Where they lie. Not PATH, which root may have from another user.</param>
internal sealed record SystemPrograms(IReadOnlyList<string> Folders)
{
    /// <summary>Those of this system.</summary>
    public static SystemPrograms Default { get; } = new(["/usr/sbin", "/usr/bin", "/sbin", "/bin"]);

    /// <summary>Runs a program to its end.</summary>
    /// <exception cref="BlockException"><see cref="HostErrors.NotHere"/>: it is not installed; IoFailed: it fails, with its words.
    /// </exception>
    public async ValueTask<string> RunAsync(string program, IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        (int exitCode, string output) = await TryRunAsync(program, arguments, cancellationToken).ConfigureAwait(false);
        return exitCode == 0 ? output : throw Failure(program, arguments, exitCode, output);
    }

    /// <summary>Runs a program to its end, whatever that is.</summary>
    /// <exception cref="BlockException"><see cref="HostErrors.NotHere"/>: it is not installed.</exception>
    public async ValueTask<(int ExitCode, string Output)> TryRunAsync(
        string program, IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        string path = Folders.Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists) ?? throw Missing(program);
        ProcessStartInfo start = new(path, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["LC_ALL"] = "C";
        try
        {
            using Process process = Process.Start(start) ?? throw Missing(program);
            process.StandardInput.Close();
            Task<string> output = process.StandardOutput.ReadToEndAsync(cancellationToken);
            Task<string> error = process.StandardError.ReadToEndAsync(cancellationToken);
            await process.WaitForExitAsync(cancellationToken).ConfigureAwait(false);
            return (process.ExitCode, await output.ConfigureAwait(false) + await error.ConfigureAwait(false));
        }
        catch (Win32Exception e)
        {
            throw new BlockException(BlockErrors.IoFailed, $"'{path}' does not start: {e.Message}.", path, operation: "run", cause: e);
        }
    }

    /// <summary>The error of a program that has failed.</summary>
    public static BlockException Failure(string program, IReadOnlyList<string> arguments, int exitCode, string output) => new(
        BlockErrors.IoFailed,
        string.Create(
            CultureInfo.InvariantCulture,
            $"'{program} {string.Join(' ', arguments)}' failed with exit code {exitCode}: {output.Trim().ReplaceLineEndings(" ")}"),
        operation: "run");

    private static BlockException Missing(string program) => new(
        HostErrors.NotHere,
        $"The program '{program}' is not installed here. Install-FleeceHost needs it; Start-FleeceHost runs a host without.");
}
