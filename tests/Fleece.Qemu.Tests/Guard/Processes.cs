// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Runtime.InteropServices;

namespace Fleece.Qemu.Tests.Guard;

/// <summary>Processes as Linux shows them under /proc; proc(5).</summary>
internal static partial class Processes
{
    /// <summary>kill(2): signal(7)'s numbers.</summary>
    public const int HangUp = 1, Interrupt = 2, Quit = 3, Kill = 9, Terminate = 15, Stop = 19;

    /// <summary>Far beyond what anything here needs. It only turns a wait without end into a failure.</summary>
    public static CancellationTokenSource Patience()
    {
        var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromMinutes(2));
        return patience;
    }

    /// <summary>Sends a signal.</summary>
    public static void Signal(int processId, int signal) => Assert.Equal(0, SendSignal(processId, signal));

    /// <summary>True while there is such a process, also one that is dead and that its parent has not looked after.</summary>
    public static bool Exists(int processId) => Directory.Exists(FolderOf(processId));

    /// <summary>Waits until nothing is left of a process.</summary>
    public static async Task WaitUntilGoneAsync(int processId)
    {
        using CancellationTokenSource patience = Patience();
        while (Exists(processId))
        {
            await Task.Delay(20, patience.Token);
        }
    }

    /// <summary>Waits until a process has ended; a container may have no process that looks after orphans.</summary>
    public static async Task WaitUntilEndedAsync(int processId)
    {
        using CancellationTokenSource patience = Patience();
        while (StateOf(processId) is not (null or "Z"))
        {
            await Task.Delay(20, patience.Token);
        }
    }

    /// <summary>Waits until no thread of a process runs any more: a signal takes effect a moment after it is sent.</summary>
    public static async Task WaitUntilStillAsync(int processId)
    {
        using CancellationTokenSource patience = Patience();
        string tasks = $"{FolderOf(processId)}/task";
        while (Directory.Exists(tasks) && Directory.GetDirectories(tasks).Any(task => Fields(task)?[0] is not (null or "Z" or "X" or "T")))
        {
            await Task.Delay(20, patience.Token);
        }
    }

    /// <summary>The number of the session that a process belongs to.</summary>
    public static int SessionOf(int processId) => int.Parse(Fields(FolderOf(processId))![3], CultureInfo.InvariantCulture);

    /// <summary>What a process has open, for example "socket:[1234]".</summary>
    public static string[] DescriptorsOf(int processId) =>
        [.. Directory.EnumerateFileSystemEntries($"{FolderOf(processId)}/fd")
            .Select(path => new FileInfo(path).LinkTarget ?? string.Empty)];

    /// <summary>What its standard input, output and error are.</summary>
    public static string[] StandardDescriptorsOf(int processId) =>
        [.. ((string[])["0", "1", "2"]).Select(number =>
            new FileInfo($"{FolderOf(processId)}/fd/{number}").LinkTarget ?? string.Empty)];

    private static string? StateOf(int processId) => Fields(FolderOf(processId))?[0];

    private static string FolderOf(int processId) => $"/proc/{processId.ToString(CultureInfo.InvariantCulture)}";

    // The fields behind the program's name, which stands in brackets.
    private static string[]? Fields(string folder)
    {
        try
        {
            string line = File.ReadAllText($"{folder}/stat");
            return line[(line.LastIndexOf(')') + 2)..].Split(' ');
        }
        catch (IOException)
        {
            return null;
        }
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int SendSignal(int processId, int signal);
}
