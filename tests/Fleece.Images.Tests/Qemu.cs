// SPDX-License-Identifier: MIT
using System.ComponentModel;
using System.Diagnostics;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>Runs QEMU's tools, the other party of every format test; a test that needs them skips where they are
/// missing.</summary>
internal static class Qemu
{
    private static readonly bool IsInstalled = TryRun("qemu-img", "--version").Code == 0;

    public static void SkipWhenMissing() =>
        Assert.SkipUnless(IsInstalled, "qemu-img is not installed here (package qemu-utils).");

    /// <summary>Runs qemu-img and fails the test when it fails.</summary>
    public static string Image(params string[] arguments) => Run("qemu-img", arguments);

    /// <summary>Runs qemu-img to its end, whatever that is.</summary>
    public static (int Code, string Output) TryImage(params string[] arguments) => TryRun("qemu-img", arguments);

    /// <summary>Runs qemu-io commands on an image and fails the test when one fails.</summary>
    public static void Io(string path, params string[] commands) => IoOn(path, "qcow2", commands);

    /// <summary>The same on an image of any format that QEMU knows.</summary>
    public static void IoOn(string path, string format, params string[] commands)
    {
        List<string> arguments = ["-f", format];
        foreach (string command in commands)
        {
            arguments.AddRange(["-c", command]);
        }

        arguments.Add(path);
        string output = Run("qemu-io", [.. arguments]);
        Assert.DoesNotContain("failed", output, StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>Fails the test unless the image is free of corruption and leaks.</summary>
    public static void CheckClean(string path)
    {
        (int code, string output) = TryRun("qemu-img", "check", "-f", "qcow2", path);
        Assert.True(code == 0, $"qemu-img check: {code}\n{output}");
    }

    /// <summary>Fails the test when the image has more wrong with it than leaked clusters (exit code 3).</summary>
    public static void CheckLeaksAtMost(string path, string context)
    {
        (int code, string output) = TryRun("qemu-img", "check", "-f", "qcow2", path);
        Assert.True(code is 0 or 3, $"qemu-img check: {code} {context}\n{output}");
    }

    /// <summary>The disk's bytes as QEMU reads them.</summary>
    public static byte[] Content(string path) => Convert(path);

    /// <summary>The same of an image of which parts can't be read: those are zeros.</summary>
    public static byte[] ReadableContent(string path) => Convert(path, "--salvage", "-q");

    private static byte[] Convert(string path, params string[] options)
    {
        string raw = path + ".converted";
        Image(["convert", .. options, "-f", "qcow2", "-O", "raw", path, raw]);
        byte[] bytes = File.ReadAllBytes(raw);
        File.Delete(raw);
        return bytes;
    }

    private static string Run(string tool, string[] arguments)
    {
        (int code, string output) = TryRun(tool, arguments);
        Assert.True(code == 0, $"{tool} {string.Join(' ', arguments)}: {code}\n{output}");
        return output;
    }

    private static (int Code, string Output) TryRun(string tool, params string[] arguments)
    {
        ProcessStartInfo start = new(tool, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        try
        {
            using Process process = Process.Start(start)!;
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return (process.ExitCode, output + errors.GetAwaiter().GetResult());
        }
        catch (Win32Exception)
        {
            return (-1, $"{tool} is not installed");
        }
    }
}
